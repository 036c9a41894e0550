"""The label goes to the server: now, or when the server answers again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError, ServerError
from UncertaintySegLib.logic import settings, shown_slices, sizes
from UncertaintySegLib.logic.attention import Attention
from UncertaintySegLib.logic.drafts import Draft
from UncertaintySegLib.logic.editing import Editing
from UncertaintySegLib.logic.places import Box
from UncertaintySegLib.logic.safekeeping import Safekeeping
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import Submitted
from UncertaintySegLib.scene import whole_slices

_FINAL = "final"
_MOST_BOXES = 500  # that the server takes


@dataclass
class Refit:
    """How far the fit of a model's head is: a sentence, and a fraction (0 to 1) while it runs."""

    text: str = ""
    fraction: float | None = None


class Submission:
    """Sends labels; one that cannot be sent waits on disk.

    Args:
        session: Whose case is sent.
        editing: Knows what is drawn.
        safekeeping: Has it on disk.
        attention: Knows what was looked at, which goes with the label.

    Attributes:
        refit: Of the head, after a label.
        waiting: How many labels were submitted but could not be sent to this server.
        changed: After a change of these.
    """

    def __init__(self, session: Session, editing: Editing, safekeeping: Safekeeping, attention: Attention) -> None:
        self.session, self.editing, self.safekeeping, self.attention = session, editing, safekeeping, attention
        self.refit, self.waiting = Refit(), 0
        self.changed = Signal()
        self._resending: int | None = None  # its ticket

    def look(self) -> None:
        """Count what waits to be sent to this server, and try to send it."""
        self._count()
        self.resend()

    @property
    def finished(self) -> list[Box]:
        """Boxes of the regions that somebody is done with: found right, or corrected.

        Of a model that is shown slices they are whole slices, with those of the case that it was shown already.
        """
        session = self.session
        steps = [step.box for step in session.history.done if step.box]
        if session.label_model is not None and session.label_model.examples is not None:
            drawn = [whole_slices.around(session.scene.scan, box) for box in steps]
            steps = [*shown_slices.boxes(session), *drawn]
        return list(dict.fromkeys([*session.state.accepted, *steps]))[-_MOST_BOXES:]

    def submit(self, *, then_next: bool = False, then_run: bool = False, finished_only: bool = False) -> None:
        """Send the label as it is drawn, as the case's final one.

        Args:
            then_next: Go on to the next case when it is sent.
            then_run: Have the chosen model run again when it is sent.
            finished_only: It counts only where somebody is done with it, and nothing is learnt from the rest.
        """
        session = self.session
        if session.busy:
            return
        self.editing.settle()
        finished = self.finished if finished_only else []
        if finished_only and not finished:
            session.fail(_("No region is accepted or corrected yet, so nothing of the label would count."))
            return
        try:
            draft = self._draft()
        except SceneError as error:
            session.fail(error)
            return
        left_out = session.scene.unnamed_segments()
        params = {key: value for key, value in {"model": draft.model, "result": draft.result}.items() if value}
        params["seconds_open"] = round(session.state.seconds_open, 1)
        params["looked_at"] = self.attention.summary()
        if finished:
            params["verified"] = finished
        params["client_id"] = session.client_id  # whose label it is, where nobody logs in
        if self._resending is not None:  # it may be an older label of this case, and the last one that comes counts
            session.worker.cancel(self._resending)
        done = partial(self._on_sent, draft, params, left_out, then_next, then_run)
        failed = partial(self._on_failed, draft, params)
        session.ask("submit", _arguments(draft, params), done, stage=_("Submitting"), failed=failed)

    def resend(self) -> None:
        """Try the label that has waited longest, beside whatever else runs."""
        drafts = self.safekeeping.drafts
        ready = self.waiting and self.session.state.info is not None and self._resending is None
        waiting = drafts.waiting(self.session.url) if ready else []
        if not waiting:
            return
        draft = waiting[0]

        def done(_answer: dict[str, Any]) -> None:
            self._resending = None
            drafts.remove(draft)
            self.session.say(_("The label of {case}, which waited, is saved on the server.").format(case=draft.case))
            self.session.cases_changed.emit()
            self.look()

        def failed(error: Exception) -> None:
            self._resending = None
            if _is_refusal(error):
                drafts.reopen(draft)
                text = _("The server does not take the label of {case}, which waited: {error} It is a draft again.")
                self.session.fail(text.format(case=draft.case, error=error))
            self._count()

        arguments = _arguments(draft, draft.params)
        self._resending = self.session.ask("submit", arguments, done, quiet=True, failed=failed)

    def fit_head(self, model: str) -> None:
        """Have the model's head fitted to all labels, in the background."""

        def progress(stage: str, fraction: float, _eta_s: float | None) -> None:
            self._refit(_("Fitting {model}: {stage}").format(model=model, stage=stage), fraction)

        def done(_answer: dict[str, Any]) -> None:
            self._refit(_("{model} has learned from the label.").format(model=model))

        def failed(error: Exception) -> None:
            self._refit(_("{model} was not fitted: {error}").format(model=model, error=error))

        self._refit(_("Fitting {model}").format(model=model), 0.0)
        arguments = {"model": model, "params": {"scope": "head"}}
        self.session.ask("train", arguments, done, quiet=True, failed=failed, progress=progress)

    def _draft(self) -> Draft:
        if not self.editing.is_possible:
            if self.session.obstacle:
                raise SceneError(self.session.obstacle)
            raise SceneError(_("There is no segmentation to submit: run a model first."))
        return self.safekeeping.hand_over()

    def _on_sent(
        self,
        draft: Draft,
        params: dict[str, Any],
        left_out: list[str],
        then_next: bool,
        then_run: bool,
        _answer: dict[str, Any],
    ) -> None:
        session = self.session
        text = _("The label of {case} is saved: {voxels} voxels ({size:.2f} {unit}) changed in {seconds:.0f} s.")
        kept = _(" Left out, for the model has no such label: {names}.").format(names=", ".join(left_out))
        volume = self.editing.volume_ml(draft.changed_voxels) if session.scene.case == draft.case else 0.0
        told = {"voxels": draft.changed_voxels, "size": volume, "unit": sizes.shown(session.state.size_unit)}
        sentence = text.format(case=draft.case, seconds=draft.seconds_open, **told)
        self.safekeeping.sent(draft)
        part = _(" It counts in the {count} places that you accepted or corrected.")
        verified = part.format(count=len(params["verified"])) if "verified" in params else ""
        session.say(sentence + verified + (kept if left_out else ""))
        self._note(draft, params)
        session.cases_changed.emit()
        if settings.value("refitAfterSubmit") and draft.model:
            self.fit_head(draft.model)
        self._count()
        if then_next:
            session.next_wanted.emit()
        if then_run and session.scene.case == draft.case:
            session.segment_wanted.emit()

    def _on_failed(self, draft: Draft, params: dict[str, Any], error: Exception) -> None:
        unreachable = isinstance(error, ServerError) and error.status is None
        if not (unreachable and self.safekeeping.wait(draft, params)):
            self.safekeeping.take_back()
            self.session.fail(error)
            return
        text = _("The server cannot be reached: the label of {case} waits here and is sent as soon as it answers.")
        self.session.fail(text.format(case=draft.case))
        self._note(draft, params)
        self._count()

    def _note(self, draft: Draft, params: dict[str, Any]) -> None:
        made = draft.provenance.get("params") or {}
        self.session.state.submitted = Submitted(
            draft.case, draft.model, str(made.get("method") or ""), params["seconds_open"], draft.changed_voxels,
            self.editing.volume_ml(draft.changed_voxels) if self.session.scene.case == draft.case else 0.0,
            params["looked_at"], self.session.state.size_unit,
        )  # fmt: skip
        self.session.submitted.emit()

    def _count(self) -> None:
        self.waiting = len(self.safekeeping.drafts.waiting(self.session.url))
        self.changed.emit()

    def _refit(self, text: str, fraction: float | None = None) -> None:
        self.refit = Refit(text, fraction)
        self.changed.emit()


def _arguments(draft: Draft, params: dict[str, Any] | None) -> dict[str, Any]:
    return {"image": draft.case, "file": str(draft.path), "tag": _FINAL, "params": params or {}}


def _is_refusal(error: Exception) -> bool:
    """Whether the server has answered, and would answer so again."""
    return isinstance(error, ServerError) and error.status is not None and error.status < 500
