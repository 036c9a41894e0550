"""The panel: widgets on one side, a `Review` on the other."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib import overlay
from UncertaintySegLib.case import CaseScene
from UncertaintySegLib.client import DEFAULT_URL
from UncertaintySegLib.replies import Structure
from UncertaintySegLib.review import Review

SERVER_SETTING = "UncertaintySeg/serverUrl"
_PUMP_MILLISECONDS = 30
_SLIDER_STEPS = 100


class Panel:
    """Shows the state of a review in the widgets of UncertaintySeg.ui and passes on what the user does.

    Args:
        ui: The widgets, by name.
        case: Where cases are shown.
        downloads: Folder for scans, labels and maps from the server.
    """

    def __init__(self, ui, case: CaseScene, downloads: Path) -> None:
        self.ui = ui
        self.review = Review(case, downloads, self.refresh)
        self._shown_info = self._shown_result = None
        self._shown_map: str | None = None
        self._map_names: list[str | None] = []

        ui.serverLineEdit.setText(slicer.util.settingsValue(SERVER_SETTING, DEFAULT_URL))
        ui.structuresTable.setColumnCount(4)
        ui.structuresTable.setHorizontalHeaderLabels(
            [_("Structure"), _("Volume, mL\n[95 %]"), _("Mean\nrisk"), _("Expected\nDice")]
        )
        ui.structuresTable.verticalHeader().setVisible(False)
        ui.structuresTable.setWordWrap(False)
        header = ui.structuresTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)

        ui.connectButton.clicked.connect(self.on_connect)
        ui.serverLineEdit.returnPressed.connect(self.on_connect)
        ui.nextCaseButton.clicked.connect(self.on_next_case)
        ui.scoreButton.clicked.connect(self.on_score)
        ui.runButton.clicked.connect(self.on_run)
        ui.cancelButton.clicked.connect(self.on_cancel)
        ui.submitButton.clicked.connect(self.on_submit)
        ui.mapComboBox.currentTextChanged.connect(self.on_map)
        ui.thresholdSlider.valueChanged.connect(self.on_threshold)
        ui.opacitySlider.valueChanged.connect(self.on_opacity)

        # The network works in a thread; this timer brings what it found to the thread that may touch the scene.
        self._timer = qt.QTimer()
        self._timer.setInterval(_PUMP_MILLISECONDS)
        self._timer.timeout.connect(self.on_timer)
        self.refresh()

    def close(self) -> None:
        """Stop what runs and let the timer rest."""
        self.review.cancel()
        self._timer.stop()

    def forget_case(self) -> None:
        """Forget the case, whose nodes are gone."""
        self.review.forget_case()

    def on_connect(self, *_arguments) -> None:
        """Connect to the server in the address line, and remember the address."""
        url = self.ui.serverLineEdit.text.strip() or DEFAULT_URL
        qt.QSettings().setValue(SERVER_SETTING, url)
        self.review.connect(url, self.ui.tokenLineEdit.text or None)
        self._timer.start()

    def on_next_case(self, *_arguments) -> None:
        """Go to the next case; edits that were not submitted are lost only with consent."""
        if self._may_discard_edits():
            self.review.next_case(self.ui.strategyComboBox.currentText)
            self._timer.start()

    def on_score(self, *_arguments) -> None:
        """Score the cases with the chosen model."""
        self.review.score(self.ui.modelComboBox.currentText)
        self._timer.start()

    def on_run(self, *_arguments) -> None:
        """Segment the case; edits that were not submitted are lost only with consent."""
        if self._may_discard_edits():
            self.review.run(self.ui.modelComboBox.currentText)
            self._timer.start()

    def on_cancel(self, *_arguments) -> None:
        """Stop what runs."""
        self.review.cancel()
        self.ui.cancelButton.setEnabled(False)

    def on_submit(self, *_arguments) -> None:
        """Send the segmentation to the server."""
        self.review.submit()
        self._timer.start()

    def on_map(self, *_arguments) -> None:
        """Show the chosen map."""
        self.review.show_map(self._map_names[self.ui.mapComboBox.currentIndex])
        self._timer.start()

    def on_threshold(self, value: float) -> None:
        """Hide the map below a value."""
        self.review.case.set_threshold(value)

    def on_opacity(self, value: float) -> None:
        """Make the map more or less opaque."""
        self.review.case.set_opacity(value)

    def on_timer(self) -> None:
        """Bring in what the network has brought."""
        self.review.pump()
        if not self.review.busy:
            self._timer.stop()

    def refresh(self) -> None:
        """Make the widgets show the state of the review."""
        state, ui = self.review.state, self.ui
        if state.info is not self._shown_info:
            self._shown_info = state.info
            _fill(ui.strategyComboBox, list(state.info.strategies) if state.info else [], "predictive_entropy")
            _fill(ui.modelComboBox, list(state.info.models) if state.info else [])
        if state.result is not self._shown_result:
            self._shown_result = state.result
            self._fill_maps()
            self._fill_structures(state.result.structures if state.result else ())
        self._refresh_map()
        self._refresh_status()

        idle, connected = not self.review.busy, state.info is not None
        has_case, has_result = state.sample is not None, state.result is not None
        ui.caseNameLabel.setText(state.sample.id if has_case else _("none"))
        ui.connectButton.setEnabled(idle)
        ui.nextCaseButton.setEnabled(idle and connected and bool(state.info.strategies))
        ui.scoreButton.setEnabled(idle and connected and bool(state.info.models))
        ui.runButton.setEnabled(idle and connected and has_case and bool(state.info.models))
        ui.submitButton.setEnabled(idle and connected and has_result)
        ui.cancelButton.setEnabled(not idle)
        ui.strategyComboBox.setEnabled(connected)
        ui.modelComboBox.setEnabled(connected)
        ui.mapComboBox.setEnabled(idle and has_result)
        for slider in (ui.thresholdSlider, ui.opacitySlider):
            slider.setEnabled(state.shown_map is not None)

    def _refresh_status(self) -> None:
        state, ui = self.review.state, self.ui
        running = state.fraction is not None
        ui.progressBar.setValue(round(100 * state.fraction) if running else 0)
        ui.progressBar.setTextVisible(running)
        if running:
            text = _("{stage}...").format(stage=state.stage or _("Working"))
        else:
            text = state.message or ("" if state.info else _("Not connected."))
        ui.statusLabel.setText(text)
        ui.statusLabel.setStyleSheet("color: #e53935; font-weight: bold" if state.is_error else "")

    def _refresh_map(self) -> None:
        shown, case, slider = self.review.state.shown_map, self.review.case, self.ui.thresholdSlider
        if shown == self._shown_map:
            return
        self._shown_map = shown
        if shown in self._map_names:
            self.ui.mapComboBox.blockSignals(True)
            self.ui.mapComboBox.setCurrentIndex(self._map_names.index(shown))
            self.ui.mapComboBox.blockSignals(False)
        if shown is not None:
            maximum, threshold = case.maximum(shown), case.threshold(shown)
            slider.blockSignals(True)
            slider.setDecimals(max(2, 2 - int(f"{maximum:e}".split("e")[1])))
            slider.setSingleStep(maximum / _SLIDER_STEPS)
            slider.setRange(0.0, maximum)
            slider.setValue(threshold)
            slider.blockSignals(False)

    def _fill_maps(self) -> None:
        result = self.review.state.result
        maps = result.maps if result else {}
        self._map_names = [None, *maps] if maps else []
        self._shown_map = None
        titles = [_("None")] + [overlay.title(name, info.unit) for name, info in maps.items()]
        _fill(self.ui.mapComboBox, titles if maps else [])

    def _fill_structures(self, structures: tuple[Structure, ...]) -> None:
        table = self.ui.structuresTable
        table.setRowCount(len(structures))
        colors = self.review.case.structure_colors() if structures else {}
        for row, structure in enumerate(structures):
            name = qt.QTableWidgetItem(f"⚠ {structure.name}" if structure.flag else structure.name)
            name.setToolTip(structure.flag or "")
            if structure.id in colors:
                name.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in colors[structure.id])))
            table.setItem(row, 0, name)
            numbers = (_volume(structure), _number(structure.mean_risk), _number(structure.expected_dice))
            for column, text in enumerate(numbers, start=1):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                if column == 1:
                    item.setToolTip(structure.interval_method)
                table.setItem(row, column, item)

    def _may_discard_edits(self) -> bool:
        if not self.review.case.edited:
            return True
        question = _("Your edits of {case} are not submitted. Discard them?").format(case=self.review.case.case)
        return slicer.util.confirmOkCancelDisplay(question)


def _volume(structure: Structure) -> str:
    if structure.volume_ml_95 is None:
        return f"{structure.volume_ml:.2f}"
    low, high = structure.volume_ml_95
    return f"{structure.volume_ml:.2f} [{low:.2f}, {high:.2f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _fill(combo_box, texts: list[str], preferred: str = "") -> None:
    """Replace a combo box's choices, without telling anyone; keeps the present choice where it still is one."""
    wanted = combo_box.currentText if combo_box.currentText in texts else preferred
    combo_box.blockSignals(True)
    combo_box.clear()
    combo_box.addItems(texts)
    if wanted in texts:
        combo_box.setCurrentIndex(texts.index(wanted))
    combo_box.blockSignals(False)
