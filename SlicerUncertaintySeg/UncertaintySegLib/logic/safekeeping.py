"""What is drawn is saved on this computer as it grows, and brought back after a crash."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.decisions import Decision
from UncertaintySegLib.logic.drafts import Draft, Drafts
from UncertaintySegLib.logic.editing import Editing
from UncertaintySegLib.logic.places import Box, Place
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import segments
from UncertaintySegLib.server.parsing import parse
from UncertaintySegLib.server.replies import parse_labels
from UncertaintySegLib.server.results import Region


class Safekeeping:
    """Saves the case as a draft, and offers the drafts that are left of another day.

    Args:
        session: Whose case is saved.
        editing: Knows what is drawn.
        drafts: Where to.
    """

    def __init__(self, session: Session, editing: Editing, drafts: Drafts) -> None:
        self.session, self.editing, self.drafts = session, editing, drafts
        self._unsaved = False
        self._trouble = ""
        self._replaced: Draft | None = None
        self._drawn, self._handed_over = 0, -1
        editing.edited.connect(self._note)
        editing.redrawn.connect(self._note)
        session.case_leaving.connect(self._on_leaving)
        session.case_opened.connect(self._leave)
        session.case_closed.connect(self._leave)

    def save(self, *, anyway: bool = False) -> Draft | None:
        """Save what is drawn, if that is not on disk yet.

        Args:
            anyway: Save it even then, for something else has changed.

        Returns:
            The draft on disk, or None where there is nothing to save.

        Raises:
            SceneError: It cannot be written.
        """
        if self.editing.ids is None or not self.session.scene.case:
            return None
        if not (self._unsaved or anyway):
            return self.drafts.open
        draft = self.drafts.save(self._draft(), self.editing.ids, self.session.scene.scan)
        self._unsaved, self._trouble = False, ""
        if self._replaced is not None:
            self.drafts.remove(self._replaced)
            self._replaced = None
        return draft

    def autosave(self) -> None:
        """Save what is drawn, and say once where that is not possible."""
        try:
            self.save()
        except SceneError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.session.fail(error)

    def put_away(self) -> None:
        """Save the case for the last time, as its nodes go; take from the scene what is for editing only."""
        self.editing.settle()
        self.autosave()
        self.session.scene.edited = self._unsaved
        self.editing.remove_helpers()
        self._leave()

    def hand_over(self) -> Draft | None:
        """Save what is drawn, to be sent as the case's label."""
        draft = self.save(anyway=True)
        self._handed_over = self._drawn
        return draft

    def take_back(self) -> None:
        """Let what was handed over be a draft again, for it is not sent."""
        self._handed_over = -1

    def label_file(self) -> Path | None:
        """Return a file of what is drawn, saved before; one that is sent or on its way does not become a draft again.

        Raises:
            SceneError: It cannot be written.
        """
        if self._handed_over != self._drawn:
            draft = self.save(anyway=True)
            return None if draft is None else draft.path
        file = self.session.folder / "uploads" / "reviewed.nii"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            segments.write_ids(self.editing.ids, self.session.scene.scan, file)
        except OSError as error:
            raise SceneError(str(error)) from error
        return file

    def sent(self, draft: Draft) -> None:
        """Forget a draft that the server has now, unless more was drawn since."""
        if not self._is_outdated(draft):
            self.drafts.remove(draft)
            self._rest(draft)
        else:
            self._unsaved = True  # the draft of what was drawn since says that this much was sent
        self.drafts.forget_waiting(draft)

    def wait(self, draft: Draft, params: dict[str, Any]) -> bool:
        """Keep a draft that was submitted until it can be sent; returns whether it does, for more may be drawn since.

        Args:
            draft: What was submitted.
            params: What the server is told with it.
        """
        if self._is_outdated(draft):
            return False
        seconds = params["looked_at"]["seconds"]
        told = replace(draft, seconds_active=seconds, seconds_counted=seconds, error_before_ml=None)
        try:
            self.drafts.keep_to_send(told, params)
        except OSError:
            return False
        self._rest(draft)
        return True

    def found(self) -> list[Draft]:
        """Return the drafts of the case, of all cases where none is open, that were never submitted; newest first."""
        case = self.session.scene.case
        return [draft for draft in self.drafts.unsent(self.session.url, case) if draft != self._replaced]

    def waiting(self) -> Draft | None:
        """Return the label of the case that was submitted and could not be sent yet; None without one."""
        found = self.drafts.waiting(self.session.url, self.session.scene.case) if self.session.scene.case else []
        return found[-1] if found else None

    def restore(self, draft: Draft) -> None:
        """Draw the label of a draft again, or one that waits to be sent, and go on where it was left.

        Raises:
            SceneError: The file is no label of this case. The draft and what is drawn stay as they are.
        """
        session, state = self.session, self.session.state
        scene = session.scene
        decisions = tuple(Decision(parse(Region, region), said) for region, said in draft.decisions)
        if scene.segmentation is not None and scene.segmentation.GetScene() is not None:
            scene.redraw(draft.path)
        else:
            labels = parse_labels({}, draft.labels)
            scene.show_segmentation(draft.path, labels, draft.provenance)
            self.editing.follow()
            self.editing.earlier_voxels = draft.changed_voxels
            self.editing.model_ml = {int(key): ml for key, ml in draft.model_ml.items() if key.isdigit()}
        self.editing.follow()
        state.decisions, state.corrections = decisions, draft.corrections
        state.seen = [Place(structure, _box(box)) for structure, box in draft.seen]
        state.seconds_active += draft.seconds_active
        state.seconds_counted += draft.seconds_counted
        state.error_before_ml = draft.error_before_ml
        state.size_unit = draft.size_unit
        session.history.clear()  # what was undone here was not of this label
        state.opened -= draft.seconds_open
        self._note()
        text = _("The draft of {case} from {time} is restored.")
        if draft.params is None:
            scene.edited, self._replaced = True, draft
        else:  # it is sent as it is; only what is drawn on it is a draft again
            scene.edited, self._unsaved, self._handed_over = False, False, self._drawn
            text = _("The label of {case} from {time}, which waits to be sent, is shown.")
        session.label_restored.emit()
        session.say(text.format(case=draft.case, time=draft.time))

    def discard(self, draft: Draft) -> None:
        """Forget a draft that is not wanted."""
        self.drafts.remove(draft)
        self.session.say(_("The draft of {case} is discarded.").format(case=draft.case))

    def _is_outdated(self, draft: Draft) -> bool:
        self.editing.settle()  # a stroke that nobody has looked at yet is drawn since, too
        now = self.drafts.open
        return now is not None and now.folder == draft.folder and (self._unsaved or now.label != draft.label)

    def _rest(self, draft: Draft) -> None:
        if self.session.scene.case == draft.case:
            self._unsaved = self.session.scene.edited = False

    def _on_leaving(self) -> None:
        """Save what is drawn; where that is not possible, the error keeps the case open."""
        self.editing.settle()
        self.save()

    def _leave(self) -> None:
        self.drafts.leave()
        self._unsaved, self._replaced, self._handed_over = False, None, -1

    def _note(self) -> None:
        self._unsaved = True
        self._drawn += 1

    def _draft(self) -> Draft:
        session, state = self.session, self.session.state
        made_from = state.base
        return Draft(
            case=session.scene.case,
            url=session.url,
            labels=[asdict(label) for label in made_from.labels] if made_from else self._labels(),
            model=str(made_from.provenance.get("model", "")) if made_from else state.blank.name if state.blank else "",
            result=made_from.key if made_from else "",
            provenance=dict(made_from.provenance) if made_from else {},
            seconds_open=round(state.seconds_open, 1),
            corrections=dict(state.corrections),
            decisions=[[asdict(region), said] for region, said in state.decisions],
            seen=list(state.seen),
            seconds_active=round(state.seconds_active, 1),
            seconds_counted=state.seconds_counted,
            error_before_ml=state.error_before_ml,
            size_unit=state.size_unit,
            changed_voxels=self.editing.changed_voxels,
            model_ml={str(label_id): ml for label_id, ml in self.editing.model_ml.items()},
        )

    def _labels(self) -> list[dict[str, object]]:
        if self.session.state.blank is not None:
            return [asdict(label) for label in self.session.state.blank.labels]
        return self._replaced.labels if self._replaced else (self.drafts.open.labels if self.drafts.open else [])


def _box(box: list[list[int]]) -> Box:
    first, last = box
    return tuple(first), tuple(last)
