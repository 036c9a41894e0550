"""What a person does with mouse and keys over a view, as the interactor's real events."""

from __future__ import annotations

import vtk


class Pointer:
    """The mouse over one view.

    Pixels are `(row, column)` of the view's `image()`, as `SliceView.pixel_of` gives them.
    """

    def __init__(self, window: vtk.vtkRenderWindow) -> None:
        self._window = window
        self._interactor = window.GetInteractor()

    def click(
        self, pixel: tuple[int, int], button: str = "Left", *, control: bool = False, shift: bool = False
    ) -> None:
        """Move to a pixel, press a button ("Left", "Middle" or "Right") there and let it go."""
        self.drag([pixel], button, control=control, shift=shift)

    def drag(
        self, pixels: list[tuple[int, int]], button: str = "Left", *, control: bool = False, shift: bool = False
    ) -> None:
        """Press a button at the first pixel and let it go at the last."""
        self.move(pixels[0], control=control, shift=shift)
        self._interactor.InvokeEvent(f"{button}ButtonPressEvent")
        for pixel in pixels[1:]:
            self.move(pixel, control=control, shift=shift)
        self._interactor.InvokeEvent(f"{button}ButtonReleaseEvent")

    def move(self, pixel: tuple[int, int], *, control: bool = False, shift: bool = False) -> None:
        """Move to a pixel."""
        self._window.Render()  # what was never drawn cannot be pointed at
        row, column = pixel
        self._interactor.SetEventInformationFlipY(column, row, int(control), int(shift), "\0", 0, None)
        self._interactor.InvokeEvent("EnterEvent")
        self._interactor.InvokeEvent("MouseMoveEvent")

    def press_key(self, key: str, *, control: bool = False, shift: bool = False) -> None:
        """Press and release a key by its VTK name ("a", "Escape", "Left", ...)."""
        code = key if len(key) == 1 else "\0"
        self._interactor.SetKeyEventInformation(int(control), int(shift), code, 1, key)
        for event in ("KeyPressEvent", "CharEvent", "KeyReleaseEvent"):
            self._interactor.InvokeEvent(event)
