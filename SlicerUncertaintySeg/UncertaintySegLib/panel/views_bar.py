"""The buttons that arrange the views."""

from __future__ import annotations

import slicer

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.summary import selection_of
from UncertaintySegLib.scene import curve_plot, layouts


class ViewsBar:
    """Arranges the views while the module is open, and gives the user's own back when it is left.

    Args:
        ui: Has the buttons.
        session: Has the scene.
    """

    def __init__(self, ui, session: Session) -> None:
        self._session = session
        self._layouts = layouts.Layouts(session.scene.scene)
        self._own_button = ui.ownLayoutButton
        self._buttons = {
            layouts.ANNOTATOR: ui.annotatorLayoutButton,
            layouts.RADIOLOGIST: ui.radiologistLayoutButton,
            layouts.COMPARE: ui.compareLayoutButton,
        }
        self._left_with: int | None = None
        self._before_reading: int | None = None
        self._is_reading = False
        for layout, button in self._buttons.items():
            button.clicked.connect(lambda *_checked, layout=layout: self.show(layout))
        self._own_button.clicked.connect(lambda *_checked: self.restore())
        for signal in (session.result_changed, session.case_opened, session.case_closed):
            signal.connect(self._on_result)
        self._refresh()

    def show(self, layout: int) -> None:
        """Show one of our layouts."""
        self._arrange(layout)
        scene = self._session.scene
        scene.set_overlay_visible(scene.overlay_visible)  # views that are new have no map yet
        slicer.app.layoutManager().resetSliceViews()
        self._refresh()

    def restore(self) -> None:
        """Show what the user had."""
        self._layouts.restore()
        self._refresh()

    def follow(self, read_only: bool) -> None:
        """Show the layout for reading as soon as labels may only be looked at, and the one before when that ends."""
        if read_only == self._is_reading:
            return
        self._is_reading = read_only
        if read_only:
            self._before_reading = self._chosen
            self.show(layouts.RADIOLOGIST)
        elif self._chosen == layouts.RADIOLOGIST:
            self.restore() if self._before_reading is None else self.show(self._before_reading)

    def enter(self) -> None:
        """Show the layout with which the module was left."""
        if self._left_with is not None:
            self.show(self._left_with)

    def exit(self) -> None:
        """Show what the user had, until the module is entered again."""
        self._left_with = self._chosen
        self.restore()

    @property
    def _chosen(self) -> int | None:
        chosen = self._layouts.chosen
        return layouts.RADIOLOGIST if chosen == layouts.RADIOLOGIST_PLOT else chosen

    def _arrange(self, layout: int) -> None:
        """Show a layout with the curve; the radiologist's has no plot where nothing is calibrated."""
        self._layouts.show(self._fitting(layout))
        curve_plot.show(self._session.scene.scene)

    def _fitting(self, layout: int) -> int:
        with_plot = layout == layouts.RADIOLOGIST and selection_of(self._session).calibrated
        return layouts.RADIOLOGIST_PLOT if with_plot else layout

    def _on_result(self) -> None:
        chosen = self._chosen
        if chosen == layouts.RADIOLOGIST and self._fitting(chosen) != self._layouts.chosen:
            self._arrange(chosen)

    def _refresh(self) -> None:
        for layout, button in self._buttons.items():
            button.setChecked(layout == self._chosen)
        self._own_button.setEnabled(self._layouts.chosen is not None)
