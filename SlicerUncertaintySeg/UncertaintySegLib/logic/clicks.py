"""Clicks and strokes move the whole segmentation: the server answers each change of them with a new result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled
from UncertaintySegLib.logic import corrections
from UncertaintySegLib.logic.corrections import BACKGROUND
from UncertaintySegLib.logic.model_label import ModelLabel, Moved
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.undo import Step
from UncertaintySegLib.scene import clicks as marking
from UncertaintySegLib.scene import enclosures
from UncertaintySegLib.scene.clicks import ClickNodes, Mark, PlaceMode
from UncertaintySegLib.scene.navigation import Ras
from UncertaintySegLib.scene.scribble import Scribble
from UncertaintySegLib.server.results import InferResult, parse_result

_NOTHING = {
    marking.POINTS: _("The click was taken away: it is outside the scan."),
    marking.STROKE: _("The scribble was taken away: it is outside the scan."),
    marking.LASSO: _("The lasso was taken away: no voxel of the scan is in it."),
    marking.BOX: _("The box was taken away: no voxel of the scan is in it."),
}


@dataclass(eq=False)
class _ClickStep:
    """A click: the marks before and after it, its step in the history, and what its answer changed once there."""

    before: tuple[Mark, ...]
    after: tuple[Mark, ...]
    kept: Step | None = None
    answer: Moved | None = None


class Clicks:
    """What the user clicked, and what the model makes of it.

    One question is under way at a time, with all clicks there are; what is clicked meanwhile is asked after it. What
    was drawn by hand stays as it is.

    Args:
        session: Whose case is clicked on.

    Attributes:
        label_id: What the next click says there is; `BACKGROUND` for nothing.
        tool: Which kind of mark the mouse makes: points, or what is drawn (`scene.clicks.DRAWN`).
        waiting: Whether the answer to a click is awaited.
        seconds: How long the last answer took; None before the first.
        hint: What the last answer did, or why there was none.
        changed: Any of these is another one now.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.label_id = BACKGROUND
        self.tool, self.waiting = marking.POINTS, False
        self.seconds: float | None = None
        self.hint = ""
        self.changed = Signal()
        self._nodes = ClickNodes(session.scene.scene, self._on_marks)
        self._place = PlaceMode(self._on_mode)
        self._scribble = Scribble(self._begin, self._extend, self._finish)
        self._is_on = False
        self._stroke: Any = None
        self._marks: tuple[Mark, ...] = ()
        self._step: _ClickStep | None = None  # the click that has no answer yet
        self._asked: dict[str, Any] | None = None
        self._label = ModelLabel(session.scene)
        self._base: InferResult | None = None
        session.result_changed.connect(self._on_result)
        session.case_leaving.connect(self.forget)
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)
        session.history.restored.connect(self._on_restored)

    @property
    def is_possible(self) -> bool:
        """Whether there is a result that clicks can correct."""
        state = self.session.state
        may = not (state.read_only or self.session.obstacle)
        return may and state.base is not None and bool(state.base.labels) and self.session.scene.is_segmented

    @property
    def is_on(self) -> bool:
        """Whether the mouse says what is where."""
        return self._is_on and (self._draws or self._place.is_on)

    @property
    def _draws(self) -> bool:
        return self.tool in marking.DRAWN

    @property
    def count(self) -> int:
        """How many clicks, strokes, lassos and boxes there are."""
        return sum(len(mark.points) if mark.kind == marking.POINTS else 1 for mark in self._marks)

    def start(self) -> None:
        """Let the mouse say what is where, until `stop`; Slicer leaves the mode at a right click, too."""
        if not self.is_possible:
            first = _("Run a model first: then a click can correct its result.")
            self.session.say(self.session.obstacle or first)
            return
        self._is_on = True
        self.hint = self.hint or self._beforehand()
        self._scribble.stop()
        if self._draws:
            self._place.stop()
            self._scribble.start()
        else:
            self._place.start(self._nodes.points(self.session.scene.case, self.label_id, self._colors()))
        self.changed.emit()

    def stop(self) -> None:
        """Give the mouse back."""
        self._is_on = False
        self._scribble.stop()
        self._place.stop()
        self.changed.emit()

    def choose(self, label_id: int, tool: str) -> None:
        """Choose what the mouse says, and with which tool."""
        self.label_id, self.tool = label_id, tool
        if self._is_on:
            self.start()

    def remove_all(self) -> None:
        """Take all clicks away: the label is then the model's own again, and what was drawn by hand."""
        if self._marks:
            self._nodes.put(self.session.scene.case, (), self._colors())
            self._on_marks()

    def forget(self) -> None:
        """The case goes: so do its clicks."""
        self._drop_question()
        self._nodes.forget()
        self._is_on = False
        self._scribble.stop()
        self._place.stop()
        self._marks, self._step, self._base = (), None, None
        self._label.forget()
        self.hint, self.seconds = "", None
        self.changed.emit()

    def close(self) -> None:
        """Let go of the scene."""
        self.stop()
        self._nodes.close()
        self._place.close()

    def corrections(self) -> dict[str, Any]:
        """Return all clicks as the request `condition` takes them."""
        return corrections.to_json(self._marks, self.session.state.base.labels, self.session.scene.scan)

    def _on_marks(self) -> None:
        """The user has placed, moved or deleted a mark."""
        if not self.is_possible:
            if self._is_on:
                self.stop()
                self.session.fail(_("The scan or its segmentation is no longer in the scene: take the case again."))
            return
        self._take_away_empty()
        history, before = self.session.history, self._marks
        history.stepping.emit()
        self._marks = self._nodes.marks()
        known = self.session.state.corrections if self._asked is None else self._asked
        if self.corrections() == known:
            return
        if self._step is not None:  # both will have one answer
            history.drop(self._step.kept)
            before = self._step.before
        step = _ClickStep(before, self._marks)
        new = marking.new_voxels(before, self._marks, self.session.scene.scan)
        box = (tuple(np.min(new, axis=0).tolist()), tuple(np.max(new, axis=0).tolist())) if new else None
        text = corrections.described(before, self._marks, self.session.state.base.labels)
        step.kept = history.add(text, partial(self._undo, step), partial(self._redo, step), box)
        self._step = step
        self._ask()

    def _ask(self) -> None:
        self.changed.emit()
        if self.waiting:
            return
        state = self.session.state
        base, sample, is_first = state.base, state.sample, state.model_label is None
        # Without the label that the model had before, what was drawn by hand cannot be told from the model's own.
        asked = state.corrections if is_first else self.corrections()
        self._asked, self.waiting, started = asked, True, time.monotonic()

        def is_current() -> bool:
            return self._asked is asked and state.base is base and state.sample is sample

        def done(answer: dict[str, Any]) -> None:
            if not is_current():
                return
            self._drop_question()
            if is_first:
                state.model_label = Path(answer["label"])
                self._label.begin(None)
            if is_first or self.corrections() != asked:
                self._ask()
                return
            self.seconds = time.monotonic() - started
            self._show(parse_result(answer["result"]), Path(answer["label"]), answer["maps"], asked)
            self.changed.emit()

        def failed(error: Exception) -> None:
            if not is_current():
                return
            self._drop_question()
            if not isinstance(error, Cancelled):
                self.hint = _("The click had no effect yet: {error}").format(error=error)
                self.session.fail(error)
            self.changed.emit()

        wanted = self.session.scene.wanted
        arguments = {"result": base.key, "corrections": asked, "maps": [wanted] if wanted else []}
        self.session.ask("condition", arguments, done, quiet=True, failed=failed)
        self.changed.emit()

    def _show(self, result: InferResult, label: Path, maps: dict[str, str], asked: dict[str, Any]) -> None:
        session, step = self.session, self._step
        session.history.stepping.emit()
        new = marking.new_voxels(step.before, step.after, session.scene.scan) if step else []
        answer = self._label.moved_to(label, session.state.model_label, new)
        if step is not None:
            if session.history.done[-1:] != [step.kept]:
                session.history.to_top(step.kept)
            step.answer = answer
        self._step = None
        session.state.corrections = asked
        paths = {name: Path(path) for name, path in maps.items()}
        session.show_result(result, label, paths, base=session.state.base, drawn=answer.ids)
        self.hint = _said(result)
        if answer.is_edited:
            session.review_wanted.emit()

    def _beforehand(self) -> str:
        """Return what somebody should know before the first click; empty where clicks do what one expects."""
        if self.session.state.base.provenance.get("head") != "deterministic":
            return ""
        return _(
            "This model has no doubt that voxels share: clicks only paint. A Laplace head, fitted on labelled cases,"
            " lets them move whole structures: uncertaintyseg train {model} DATA --head laplace"
        ).format(model=self.session.state.base.provenance.get("model", _("MODEL")))

    def _undo(self, step: _ClickStep) -> None:
        self._step = None
        if step.answer is not None:
            self._label.take_back(step.answer)
        self._put(step.before)

    def _redo(self, step: _ClickStep) -> None:
        self._step = step if step.answer is None else None
        if step.answer is not None:
            self._label.move_again(step.answer)
        self._put(step.after)

    def _on_result(self) -> None:
        """A model's new label begins without clicks; one that is not the model's stays as it was drawn."""
        state = self.session.state
        if state.base is self._base:
            if self._step is None and not self.waiting and self.corrections() != state.corrections:
                self._put(self._marks_of_state())  # of a draft
            return
        self._drop_question()
        self._base, self._step, self.hint = state.base, None, ""
        self._label.begin(None if state.result is state.base else self.session.scene.label_ids())
        self._put(self._marks_of_state())
        if self.label_id not in {BACKGROUND, *(label.id for label in state.base.labels)}:
            self.label_id = BACKGROUND
        self.changed.emit()

    def _on_restored(self) -> None:
        """After an undo or a redo what is shown may not be what these clicks make of it."""
        if not self.is_possible:
            return
        self._drop_question()
        self.hint = ""
        if self.corrections() != self.session.state.corrections:
            self._ask()
        self.changed.emit()

    def _on_mode(self) -> None:
        """Somebody gave the mouse another mode, maybe."""
        if self._is_on and not self._draws and not self._place.is_on:
            self.stop()

    def _marks_of_state(self) -> tuple[Mark, ...]:
        state = self.session.state
        return corrections.to_marks(state.corrections, state.base.labels, self.session.scene.scan)

    def _drop_question(self) -> None:
        self.waiting, self._asked = False, None

    def _put(self, marks: tuple[Mark, ...]) -> None:
        self._nodes.axes = enclosures.axes(self.session.scene.scan)
        self._nodes.put(self.session.scene.case, marks, self._colors())
        self._marks = self._nodes.marks()

    def _colors(self) -> dict[int, tuple[float, float, float]]:
        return self.session.scene.structure_colors()

    def _begin(self, position: Ras) -> None:
        if self.tool == marking.BOX and self.label_id == BACKGROUND:
            self.session.say(_("A box holds a structure: choose which."))
            return
        self._nodes.axes = enclosures.axes(self.session.scene.scan)
        self._stroke = self._nodes.draw(self.tool, self.session.scene.case, self.label_id, self._colors())
        self._extend(position)

    def _extend(self, position: Ras) -> None:
        if self._stroke is not None and self._stroke.GetScene() is not None:
            self._nodes.add_point(self._stroke, position)

    def _finish(self) -> None:
        self._stroke = None
        if self.is_possible:
            self._take_away_empty()
        self._nodes.finish()

    def _take_away_empty(self) -> None:
        """Let nothing stay drawn that means no voxel of the scan, and say so."""
        if self._stroke is not None:
            return
        labels, scan = self.session.state.base.labels, self.session.scene.scan
        kind = self._nodes.keep(lambda mark: bool(corrections.to_json((mark,), labels, scan)))
        if kind:
            self.session.say(_NOTHING[kind])


def _said(result: InferResult) -> str:
    """Return what became of the clicks, in a sentence."""
    if result.moved == "voxel":
        return " ".join(
            filter(None, (_("This model cannot learn from clicks: only the clicked voxels changed."), result.offer))
        )
    if result.alone:
        return _("{count} clicks moved only their own voxel.").format(count=result.alone)
    return ""
