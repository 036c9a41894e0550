"""The least and the most that a structure may be, and the flip-book."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.plausible import PlausibleLogic
from UncertaintySegLib.logic.structures import volume

_PAGE_MILLISECONDS = 400


class PlausibleBox:
    """Outlines what is plausible of one structure, and leafs through plausible segmentations.

    Args:
        ui: Has the widgets.
        logic: Does it.
    """

    def __init__(self, ui, logic: PlausibleLogic) -> None:
        self._ui, self.logic = ui, logic
        ui.boundaryCheckBox.toggled.connect(self.on_boundary)
        for level in (ui.lowLevelSpinBox, ui.highLevelSpinBox):
            level.valueChanged.connect(self.on_boundary)
        ui.shapesButton.clicked.connect(lambda *_checked: logic.make_book())
        ui.playButton.toggled.connect(self.on_play)
        ui.pageSlider.valueChanged.connect(self.on_page)
        self._play = qt.QTimer()
        self._play.setInterval(_PAGE_MILLISECONDS)
        self._play.timeout.connect(self.on_next_page)

    def on_boundary(self, *_arguments) -> None:
        """Outline the least and the most that the structure in question may be, or do not."""
        ui = self._ui
        self.logic.boundary_wanted = ui.boundaryCheckBox.checked
        self.logic.levels = ui.lowLevelSpinBox.value / 100, ui.highLevelSpinBox.value / 100
        self.logic.update_boundary()
        self.refresh()

    def on_play(self, checked: bool) -> None:
        """Leaf through the flip-book, or stop."""
        if checked:
            self._play.start()
        else:
            self._play.stop()

    def on_next_page(self) -> None:
        """Turn a page."""
        self.on_page(self.logic.book.page + 1)

    def on_page(self, page: int) -> None:
        """Open a page of the flip-book."""
        self.logic.book.open(page)
        self.refresh()

    def stop(self) -> None:
        """Stop leafing."""
        self._ui.playButton.setChecked(False)
        self._play.stop()

    def refresh(self) -> None:
        """Make the widgets show what there is."""
        ui, logic, book = self._ui, self.logic, self.logic.book
        for widget in (ui.boundaryCheckBox, ui.lowLevelSpinBox, ui.highLevelSpinBox):
            widget.setEnabled(logic.can_outline)
        volumes = logic.volumes
        least, most = (volume(ml) for ml in volumes or (0, 0))
        text = _("{least} to {most} {unit}")
        text = text.format(least=least, most=most, unit=sizes.shown(logic.session.state.size_unit))
        ui.boundaryVolumeLabel.setText(text if volumes else "")
        ui.boundaryVolumeLabel.setVisible(volumes is not None)
        ui.shapesButton.setEnabled(logic.session.state.base is not None and not logic.asking)
        ui.pageSlider.blockSignals(True)
        ui.pageSlider.setRange(0, max(0, book.count - 1))
        ui.pageSlider.setValue(book.page)
        ui.pageSlider.blockSignals(False)
        ui.pageLabel.setText(_("drawing...") if logic.asking else logic.page_text())
        ui.shapesHintLabel.setVisible(book.count > 0 and bool(logic.session.state.corrections))
        for widget in (ui.playButton, ui.pageSlider):
            widget.setEnabled(book.count > 0)
        if not book.count:
            self.stop()
