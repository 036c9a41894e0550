"""Selective prediction: three linked sliders, what they ask for and give, and the part left to review in the views."""

from __future__ import annotations

import math
from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import selection as texts
from UncertaintySegLib.logic.abstention import AbstentionLogic
from UncertaintySegLib.panel import curve_picture, text_colors
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import timer
from UncertaintySegLib.scene import curve_plot
from UncertaintySegLib.scene.colors import TO_REVIEW

_REST_MILLISECONDS = 300
_STEPS = 100
_NARROWEST = 0.001
_LEAST_WIDTH, _CURVE_HEIGHT = 300, 170


class SelectionSection(Section):
    """How much to review."""

    name = "Selection"
    title = _("How much to review")

    def setup(self) -> None:
        """Connect the widgets."""
        self.logic = AbstentionLogic(self.session)
        ui = self.ui
        self._colors = {
            _("Blue"): TO_REVIEW,
            _("Magenta"): (1.0, 0.2, 0.9),
            _("White"): (1.0, 1.0, 1.0),
            _("Black"): (0.0, 0.0, 0.0),
        }
        for name in self._colors:
            ui.colorComboBox.addItem(name)
        text_colors.style(ui.uncalibratedLabel, text_colors.ERROR)
        ui.overlayOpacitySlider.value = self.logic.overlay.opacity
        ui.coverageSlider.valueChanged.connect(self.on_coverage)
        ui.errorSlider.valueChanged.connect(self.on_error)
        ui.reviewThresholdSlider.valueChanged.connect(self.on_threshold)
        ui.guaranteeButton.clicked.connect(self.on_guarantee)
        ui.askButton.clicked.connect(self.on_ask)
        ui.plotButton.clicked.connect(self.on_plot)
        for check_box in (ui.fillCheckBox, ui.outlineCheckBox, ui.solidCheckBox):
            check_box.toggled.connect(self.on_shown)
        ui.overlayOpacitySlider.valueChanged.connect(self.on_opacity)
        ui.colorComboBox.currentIndexChanged.connect(self.on_color)
        # A surface takes some tenths of a second: it is drawn when the slider has come to rest.
        self._rest = timer(_REST_MILLISECONDS, self.logic.rest)
        self._drawn_width = 0
        self.logic.changed.connect(self.on_result)
        self.on_result()

    def refresh(self) -> None:
        """Fit the curve to a panel that has become wider or narrower."""
        if self.ui.curveLabel.width != self._drawn_width:
            self._draw_curve()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"threshold_down": lambda: self.step(-1), "threshold_up": lambda: self.step(1)}

    def close(self) -> None:
        """Let nothing rest any more."""
        self._rest.stop()

    def step(self, direction: int) -> None:
        """Move the threshold by a hundredth of its range, up (1) or down (-1)."""
        selection = self.logic.selection
        if selection.curve is not None:
            ends = selection.curve.thresholds
            self._move(
                selection.move_to_threshold, selection.point.threshold + direction * (ends[-1] - ends[0]) / _STEPS
            )

    def on_coverage(self, percent: float) -> None:
        """Follow the coverage slider."""
        self._move(self.logic.selection.move_to_coverage, percent / 100)

    def on_error(self, percent: float) -> None:
        """Follow the slider of the expected error."""
        self._move(self.logic.selection.move_to_error, percent / 100)

    def on_threshold(self, threshold: float) -> None:
        """Follow the threshold slider."""
        self._move(self.logic.selection.move_to_threshold, threshold)

    def on_guarantee(self, *_arguments) -> None:
        """Go where the promise asks for the least work."""
        self._move(self.logic.selection.move_to_guarantee)

    def on_ask(self, *_arguments) -> None:
        """Have the server promise the bound that is typed in."""
        sure = self.ui.confidenceSpinBox.value
        delta = round(1 - sure / 100, 6) if sure > 0 else None
        self.logic.ask(round(self.ui.alphaSpinBox.value / 100, 6), delta)

    def on_plot(self, *_arguments) -> None:
        """Show the curve in the plot views."""
        if not curve_plot.show(self.session.scene.scene):
            self.session.say(_("The curve is ready, but the layout has no plot view: choose one that has."))

    def on_shown(self, *_arguments) -> None:
        """Show or hide the part to review."""
        ui = self.ui
        self.logic.show(
            fill=bool(ui.fillCheckBox.checked),
            outlines=bool(ui.outlineCheckBox.checked),
            solid=bool(ui.solidCheckBox.checked),
        )
        self._show_hint()

    def on_opacity(self, opacity: float) -> None:
        """Follow the opacity slider."""
        self.logic.overlay.set_opacity(opacity)

    def on_color(self, *_arguments) -> None:
        """Follow the choice of colour."""
        self.logic.overlay.set_color(list(self._colors.values())[self.ui.colorComboBox.currentIndex])

    def on_result(self) -> None:
        """Make the widgets those of another result."""
        ui, selection = self.ui, self.logic.selection
        curve, calibrated = selection.curve, selection.calibrated
        for widget in (ui.coverageSlider, ui.reviewThresholdSlider, ui.overlayGroup):
            widget.setEnabled(curve is not None)
        for widget in (ui.errorSlider, ui.guaranteeButton, ui.plotButton):
            widget.setEnabled(calibrated)
        if curve is not None:
            _set_range(ui.coverageSlider, 100 * curve.coverages[0], 100 * curve.coverages[-1])
            _set_range(ui.reviewThresholdSlider, curve.thresholds[0], curve.thresholds[-1], decimals=3)
        if calibrated:
            _set_range(ui.errorSlider, 100 * curve.errors[0], 100 * curve.errors[-1])
        for check_box, shown in (
            (ui.fillCheckBox, self.logic.fill),
            (ui.outlineCheckBox, self.logic.outlines),
            (ui.solidCheckBox, self.logic.solid),
        ):
            _set_quietly(check_box, "setChecked", shown)
        tip = _("You review the voxels whose error probability is above this.")
        ui.reviewThresholdSlider.setToolTip(" ".join(filter(None, (tip, texts.ranked_by(selection)))))
        self._show_bound()
        self._show_point()
        self._show_hint()

    def _show_bound(self) -> None:
        """Let the fields say what is promised, unless somebody waits for what they say."""
        ui, selection = self.ui, self.logic.selection
        for widget in (ui.alphaSpinBox, ui.confidenceSpinBox, ui.askButton):
            widget.setEnabled(selection.can_ask and not self.logic.asking)
        if selection.guarantee is not None and not self.logic.asking:
            ui.alphaSpinBox.setValue(100 * selection.guarantee.alpha)
            delta = selection.guarantee.delta
            ui.confidenceSpinBox.setValue(0 if delta is None else 100 * (1 - delta))

    def _move(self, move: Callable[..., None], *position: float) -> None:
        move(*position)
        self.logic.moved()
        self._show_point()
        self._rest.start()

    def _show_point(self) -> None:
        ui, selection = self.ui, self.logic.selection
        point = selection.point
        if point is not None:
            _set_quietly(ui.coverageSlider, "setValue", 100 * point.coverage)
            _set_quietly(ui.reviewThresholdSlider, "setValue", point.threshold)
        if selection.calibrated:
            _set_quietly(ui.errorSlider, "setValue", 100 * point.expected_error)
        empty = _("Run a model first: then you can choose here how much of its result to review.")
        ui.sentenceLabel.setText(texts.sentence(selection) or selection.reason or empty)
        uncalibrated = point is not None and not selection.calibrated
        ui.errorSlider.setVisible(not uncalibrated)
        ui.errorUnknownLabel.setVisible(uncalibrated)
        ui.uncalibratedLabel.setVisible(uncalibrated)
        ui.uncalibratedReasonLabel.setVisible(uncalibrated)
        ui.uncalibratedReasonLabel.setText(selection.reason)
        ui.promiseLabel.setText(texts.promise(selection) if selection.calibrated else "")
        ui.promiseLabel.setVisible(selection.calibrated)
        ui.footnoteLabel.setText(texts.footnote(selection))
        ui.footnoteLabel.setVisible(bool(ui.footnoteLabel.text))
        self._draw_curve()

    def _draw_curve(self) -> None:
        label, chart = self.ui.curveLabel, texts.chart(self.logic.selection)
        label.setVisible(chart is not None)
        if chart is None:
            return
        palette = label.palette
        self._drawn_width = label.width
        picture = curve_picture.draw(
            chart,
            max(label.width, _LEAST_WIDTH),
            _CURVE_HEIGHT,
            ink=palette.color(qt.QPalette.WindowText),
            paper=palette.color(qt.QPalette.Base),
            ratio=label.devicePixelRatioF(),
        )
        label.setPixmap(picture)

    def _show_hint(self) -> None:
        fetching = self.logic.fetching
        self.ui.overlayHintLabel.setText(_("Fetching the map of the error probability...") if fetching else "")
        self.ui.overlayHintLabel.setVisible(fetching)


def _set_range(slider, low: float, high: float, decimals: int = 2) -> None:
    """Give a slider its ends, a hundred steps, and more decimals only where these need them."""
    was_blocked = slider.blockSignals(True)
    slider.decimals = max(decimals, math.ceil(math.log10(_STEPS / max(high - low, _NARROWEST))))
    slider.minimum, slider.maximum = float(low), float(high)  # ctk's setRange is no slot: Python cannot call it
    slider.singleStep = max(float(high - low) / _STEPS, 10.0**-slider.decimals)
    slider.blockSignals(was_blocked)


def _set_quietly(widget, setter: str, value) -> None:
    was_blocked = widget.blockSignals(True)
    getattr(widget, setter)(value)
    widget.blockSignals(was_blocked)
