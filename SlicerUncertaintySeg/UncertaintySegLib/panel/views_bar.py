"""The buttons that arrange the views."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import slicer

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.summary import selection_of
from UncertaintySegLib.scene import curve_plot, layouts, navigation


class ViewsBar:
    """Arranges the views while the module is open, and gives the user's own back when it is left.

    An image and a clip have a layout of their own, without 3D, that comes and goes with them; the annotator's and the
    radiologist's are then that one.

    Args:
        ui: Has the buttons.
        session: Has the scene.
        steady: What is done in the context that it returns leaves the frame of a clip as it is.
    """

    def __init__(self, ui, session: Session, steady: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._session, self._steady = session, steady
        self._layouts = layouts.Layouts(session.scene.scene)
        self._own_button = ui.ownLayoutButton
        self._buttons = {
            layouts.ANNOTATOR: ui.annotatorLayoutButton,
            layouts.RADIOLOGIST: ui.radiologistLayoutButton,
            layouts.COMPARE: ui.compareLayoutButton,
        }
        self._asked: int | None = None
        self._left_shown = self._is_left = self._is_reading = False
        self._before_reading: int | None = None
        self._flat: int | None = None
        for layout, button in self._buttons.items():
            button.clicked.connect(lambda *_checked, layout=layout: self.show(layout))
        self._own_button.clicked.connect(lambda *_checked: self.restore())
        session.case_opened.connect(self._on_opened)
        for signal in (session.case_closed, session.result_changed):
            signal.connect(self._on_case)
        self._refresh()

    def show(self, layout: int | None) -> None:
        """Show one of our layouts; None shows that of an image or a clip, or else the user's own."""
        self._asked = layout
        if layout is None and self._flat is None:
            self.restore()
            return
        scene = self._session.scene
        with self._steady():
            self._arrange(layout)
            scene.set_overlay_visible(scene.overlay_visible)  # views that are new have no map yet
            navigation.fit(scene.scan)
        self._refresh()

    def restore(self) -> None:
        """Show what the user had."""
        self._asked = None
        with self._steady():
            self._layouts.restore()
        self._refresh()

    def follow(self, read_only: bool) -> None:
        """Show the layout for reading as soon as labels may only be looked at, and the one before when that ends."""
        if read_only == self._is_reading:
            return
        self._is_reading = read_only
        if read_only:
            self._before_reading = self._asked
            self.show(layouts.RADIOLOGIST)
        elif self._asked == layouts.RADIOLOGIST:
            self.show(self._before_reading)

    def enter(self) -> None:
        """Show the layout with which the module was left."""
        self._is_left = False
        if self._left_shown:
            self.show(self._asked)

    def exit(self) -> None:
        """Show what the user had, until the module is entered again."""
        self._left_shown, self._is_left = self._layouts.chosen is not None, True
        self._layouts.restore()
        self._refresh()

    def _arrange(self, layout: int | None) -> None:
        """Show a layout with the curve; the radiologist's has no plot where nothing is calibrated."""
        fitting = self._fitting(layout)
        self._layouts.show(fitting)
        if self._flat is not None:
            self._layouts.turn_to(self._session.scene.scan)
        if fitting != layouts.CLIP:
            curve_plot.show(self._session.scene.scene)

    def _fitting(self, layout: int | None) -> int:
        if self._flat is not None and layout != layouts.COMPARE:
            return self._flat
        with_plot = layout == layouts.RADIOLOGIST and selection_of(self._session).calibrated
        return layouts.RADIOLOGIST_PLOT if with_plot else layout

    def _on_opened(self) -> None:
        before = self._flat
        self._on_case()
        if self._flat is not None and self._flat == before and self._layouts.chosen is not None:
            self._layouts.turn_to(self._session.scene.scan)  # the images of a study lie in planes of their own
            navigation.fit(self._session.scene.scan)

    def _on_case(self) -> None:
        scene, before = self._session.scene, self._flat
        self._flat = (layouts.CLIP if scene.is_clip else layouts.IMAGE) if scene.is_flat else None
        if self._is_left or slicer.app.layoutManager() is None:  # there is none any more while Slicer closes
            return
        if self._flat != before:
            self.show(self._asked)
        elif self._layouts.chosen is not None and self._fitting(self._asked) != self._layouts.chosen:
            with self._steady():
                self._arrange(self._asked)

    def _refresh(self) -> None:
        for layout, button in self._buttons.items():
            button.setChecked(self._layouts.chosen is not None and layout == self._asked)
        self._own_button.setEnabled(self._layouts.chosen is not None)
