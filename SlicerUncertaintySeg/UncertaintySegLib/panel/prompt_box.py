"""Points that ask a model such as SAM for a structure: which they are of, placing and removing them."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.panel.widgets import fill
from UncertaintySegLib.scene.clicks import BACKGROUND_COLOR, PlaceMode
from UncertaintySegLib.scene.colors import structure_color
from UncertaintySegLib.scene.prompt_points import PromptPoints
from UncertaintySegLib.server.choices import PROMPTED
from UncertaintySegLib.server.replies import Model

_BACKGROUND = "background"
"""As servers call what is none of the structures."""


class PromptBox:
    """The widgets of prompt points, for models that take prompts alone.

    Args:
        ui: Widgets of Segment.ui.
        session: Whose case the points lie on.
    """

    def __init__(self, ui, session: Session) -> None:
        self.ui, self.session = ui, session
        self.points = PromptPoints(session.scene.scene, self._show)
        self._place = PlaceMode(self._on_mode)
        self._names: list[str] = []
        ui.promptComboBox.currentIndexChanged.connect(lambda *_index: self._on_place(ui.promptPlaceButton.checked))
        ui.promptPlaceButton.toggled.connect(self._on_place)
        ui.promptRemoveButton.clicked.connect(lambda *_arguments: self.clear())
        for signal in (session.case_opened, session.case_closed):
            signal.connect(self.clear)

    def offer(self, model: Model | None) -> None:
        """Offer points of the structures of a model; none where it takes no prompts."""
        names = next((option.choices for option in model.run_options if option.name == PROMPTED), ()) if model else ()
        self.stop()
        self.points.remove()  # they name structures of the model before
        self._names = [*names, *([_BACKGROUND] if names else [])]
        self.ui.promptsWidget.setVisible(bool(names))
        fill(self.ui.promptComboBox, {name: name for name in names} | ({_BACKGROUND: _("none of it")} if names else {}))
        self._show()

    def clear(self) -> None:
        """Remove all points, and place no more."""
        self.stop()
        self.points.remove()
        self._show()

    def stop(self) -> None:
        """Place no more points; those that are there stay."""
        self.ui.promptPlaceButton.setChecked(False)

    def close(self) -> None:
        """Watch no more."""
        self._place.close()

    def params(self) -> dict[str, Any]:
        """Return what the server is told with a run of the open scan. Raises `SceneError` as `PromptPoints.voxels`."""
        points = self.points.voxels(self.session.scene.scan) if self._names else []
        return {"prompts": {"points": points}} if points else {}

    def _on_place(self, wanted: bool) -> None:
        scene, row = self.session.scene, self.ui.promptComboBox.currentIndex
        if not wanted:
            self._place.stop()
        elif scene.scan is None or scene.scan.GetScene() is not scene.scene or not 0 <= row < len(self._names):
            self.ui.promptPlaceButton.setChecked(False)
        else:
            color = BACKGROUND_COLOR if self._names[row] == _BACKGROUND else structure_color(row)
            self._place.start(self.points.list_of(scene.case, self._names[row], color))

    def _on_mode(self) -> None:
        """Somebody has given the mouse back."""
        if self.ui.promptPlaceButton.checked and not self._place.is_on:
            self.ui.promptPlaceButton.setChecked(False)

    def _show(self) -> None:
        counts = self.points.counts()
        told = ", ".join(f"{name} {counts[name]}" for name in self._names if name in counts)
        self.ui.promptLabel.setText(_("Points: {counts}.").format(counts=told) if told else _("No points yet."))
        self.ui.promptRemoveButton.setEnabled(bool(told))
