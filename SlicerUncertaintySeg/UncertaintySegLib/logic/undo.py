"""One order in which everything is taken back: decisions on regions, clicks, and what was done to the segments."""

from __future__ import annotations

from collections.abc import Callable

from UncertaintySegLib.errors import UncertaintySegError
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import Box, Shown, State


class Step:
    """Something that was done, and how it is undone and done again.

    What the server said of the label, before and after, is kept with it: that needs no server to come back.

    Args:
        text: What it was, for the button.
        undo, redo: Change everything but the result that is shown.
        box: Where the label was changed: first and last voxel, IJK of the scan's file; None where it was not.
        taken_from: Label ids of the structures that lost voxels.
    """

    def __init__(
        self,
        text: str,
        undo: Callable[[], None],
        redo: Callable[[], None],
        box: Box | None = None,
        taken_from: frozenset[int] = frozenset(),
    ) -> None:
        self.text = text
        self.undo, self.redo = undo, redo
        self.box, self.taken_from = box, taken_from
        self.shown: Shown | None = None  # on the other side of the step


class History:
    """What was done to the case since its model ran, and what was undone of it.

    Args:
        state: Of the session whose case it is.
        show_again, fail: Show a result that was shown before, and say what went wrong; see `Session`.

    Attributes:
        done: What can be undone, oldest first.
        stepping: Somebody is about to add, undo or redo a step: whoever has one that is not added yet adds it now.
        restored: A step was undone or redone: what was asked of the server before is not of this label.
        changed: There is another step to undo or redo.
    """

    def __init__(self, state: State, show_again: Callable[[Shown], None], fail: Callable[[Exception], None]) -> None:
        self._state, self._show_again, self._fail = state, show_again, fail
        self.done: list[Step] = []
        self._undone: list[Step] = []
        self.stepping, self.restored, self.changed = Signal(), Signal(), Signal()

    @property
    def last(self) -> str:
        """What `undo` takes back, or an empty text."""
        return self.done[-1].text if self.done else ""

    @property
    def next(self) -> str:
        """What `redo` does again, or an empty text."""
        return self._undone[-1].text if self._undone else ""

    def add(
        self,
        text: str,
        undo: Callable[[], None],
        redo: Callable[[], None],
        box: Box | None = None,
        taken_from: frozenset[int] = frozenset(),
    ) -> Step:
        """Add a step that has just been done, see `Step`; what is shown now is what was shown before it."""
        step = Step(text, undo, redo, box, taken_from)
        step.shown = self._state.shown
        self.done.append(step)
        self._undone.clear()
        self.changed.emit()
        return step

    def drop(self, step: Step) -> None:
        """Forget a step, as though it was part of another one."""
        self.done = [other for other in self.done if other is not step]
        self.changed.emit()

    def to_top(self, step: Step) -> None:
        """Make a step the last one: what it changes in the label, it changes only now."""
        self.done = [*(other for other in self.done if other is not step), step]
        step.shown = self._state.shown

    def undo(self) -> str:
        """Take the last step back, and return what it was; an empty text where nothing was undone."""
        self.stepping.emit()
        return self._move(self.done, self._undone, lambda step: step.undo()) if self.done else ""

    def redo(self) -> str:
        """Do again what was undone last, and return what it was; an empty text where nothing was done."""
        self.stepping.emit()
        return self._move(self._undone, self.done, lambda step: step.redo()) if self._undone else ""

    def clear(self) -> None:
        """Forget everything, as for another case or another model's label."""
        self.done.clear()
        self._undone.clear()
        self.changed.emit()

    def _move(self, source: list[Step], target: list[Step], act: Callable[[Step], None]) -> str:
        step, now = source[-1], self._state.shown
        try:
            act(step)
            self._show_again(step.shown)
        except UncertaintySegError as error:
            self._fail(error)
            return ""
        source.pop()
        step.shown = now
        target.append(step)
        self.restored.emit()
        self.changed.emit()
        return step.text
