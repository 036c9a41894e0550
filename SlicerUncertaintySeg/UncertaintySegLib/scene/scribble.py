"""Strokes drawn with the left mouse button in the slice views."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

from UncertaintySegLib.scene.navigation import Ras

_FIRST = 100.0  # before the view itself, which would change window and level


class Scribble:
    """Follows the mouse in all slice views of the layout between `start` and `stop`.

    Args:
        begin, move, end: Called when the button goes down, while it is down, both with a place in mm (RAS), and when it
            goes up.
    """

    def __init__(self, begin: Callable[[Ras], None], move: Callable[[Ras], None], end: Callable[[], None]) -> None:
        self._begin, self._move, self._end = begin, move, end
        self._watched: list[tuple[vtk.vtkRenderWindowInteractor, int]] = []
        self._drawing = False

    def start(self) -> None:
        """Take the left mouse button of every slice view."""
        self.stop()
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames() if manager is not None else ():
            widget = manager.sliceWidget(name)
            self._watch(widget.sliceView().interactor(), widget.mrmlSliceNode())

    def stop(self) -> None:
        """Give it back."""
        for interactor, tag in self._watched:
            interactor.RemoveObserver(tag)
        self._watched.clear()
        self._drawing = False

    def _watch(self, interactor: vtk.vtkRenderWindowInteractor, node: slicer.vtkMRMLSliceNode) -> None:
        def place() -> Ras:
            x, y = interactor.GetEventPosition()
            return tuple(node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3])

        def pressed() -> bool:
            if interactor.GetShiftKey() or interactor.GetControlKey():
                return False
            self._drawing = True
            self._begin(place())
            return True

        def moved() -> bool:
            if self._drawing:
                self._move(place())
            return self._drawing

        def released() -> bool:
            was_drawing, self._drawing = self._drawing, False
            if was_drawing:
                self._end()
            return was_drawing

        for event, handle in (
            ("LeftButtonPressEvent", pressed),
            ("MouseMoveEvent", moved),
            ("LeftButtonReleaseEvent", released),
        ):
            self._observe(interactor, event, handle)

    def _observe(self, interactor: vtk.vtkRenderWindowInteractor, event: str, handle: Callable[[], bool]) -> None:
        def on_event(caller: vtk.vtkRenderWindowInteractor, _event: str) -> None:
            if handle():
                caller.GetCommand(tag).SetAbortFlag(1)  # nobody else gets it

        tag = interactor.AddObserver(event, on_event, _FIRST)
        self._watched.append((interactor, tag))
