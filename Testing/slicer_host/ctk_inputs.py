"""The ctk widgets that take a number or a path."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.dialogs import answers
from slicer_host.scriptable import stand_in


@stand_in("ctkSliderWidget")
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one real number."""

    valueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._minimum, self._maximum, self._step, self._value, self._decimals = 0.0, 99.0, 1.0, 0.0, 2
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._spin_box = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin_box)
        self._slider.valueChanged.connect(lambda step: self.setValue(self._minimum + step * self._step))
        self._spin_box.valueChanged.connect(self.setValue)
        self._refresh()

    def setValue(self, value: float) -> None:
        value = round(min(self._maximum, max(self._minimum, value)), self._decimals)
        changed, self._value = value != self._value, value
        self._refresh()
        if changed:
            self.valueChanged.emit(value)

    def _set_range(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.setValue(self._value)

    def _set_minimum(self, minimum: float) -> None:
        self._set_range(minimum, self._maximum)

    def _set_maximum(self, maximum: float) -> None:
        self._set_range(self._minimum, maximum)

    def _set_suffix(self, suffix: str) -> None:
        self._spin_box.setSuffix(suffix)

    def _set_single_step(self, step: float) -> None:
        self._step = step
        self._refresh()

    def _set_decimals(self, decimals: int) -> None:
        self._decimals = decimals
        self._refresh()

    def _refresh(self) -> None:
        for part in (self._slider, self._spin_box):
            part.blockSignals(True)
        self._slider.setRange(0, round((self._maximum - self._minimum) / self._step))
        self._slider.setValue(round((self._value - self._minimum) / self._step))
        self._spin_box.setDecimals(self._decimals)
        self._spin_box.setRange(self._minimum, self._maximum)
        self._spin_box.setSingleStep(self._step)
        self._spin_box.setValue(self._value)
        for part in (self._slider, self._spin_box):
            part.blockSignals(False)

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._minimum, _set_minimum)
    maximum = Property(float, lambda self: self._maximum, _set_maximum)
    singleStep = Property(float, lambda self: self._step, _set_single_step)
    decimals = Property(int, lambda self: self._decimals, _set_decimals)
    pageStep = Property(float, lambda self: self._slider.pageStep * self._step, lambda self, step: None)
    suffix = Property(str, lambda self: self._spin_box.suffix, _set_suffix)
    prefix = Property(str, lambda self: self._spin_box.prefix, lambda self, text: self._spin_box.setPrefix(text))
    tracking = Property(bool, lambda self: self._slider.tracking, lambda self, on: self._slider.setTracking(on))
    spinBoxVisible = Property(
        bool, lambda self: not self._spin_box.isHidden(), lambda self, shown: self._spin_box.setVisible(shown)
    )


@stand_in("ctkPathLineEdit")
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, typed or picked."""

    currentPathChanged = Signal(str)
    Dirs = 1

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._line_edit = QtWidgets.QLineEdit()
        browse_button = QtWidgets.QToolButton()
        browse_button.setText("...")
        layout.addWidget(self._line_edit, 1)
        layout.addWidget(browse_button)
        self._line_edit.textChanged.connect(self.currentPathChanged)
        browse_button.clicked.connect(self.browse)

    def setCurrentPath(self, path: str) -> None:
        self._line_edit.setText(path)

    def browse(self) -> None:
        """Pick a path, as the button does."""
        path = answers.pick("Select a path")
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self) -> None:
        """Nothing: the history is not kept."""

    currentPath = Property(str, lambda self: self._line_edit.text, setCurrentPath)
    settingKey = Property(str, lambda self: "", lambda self, key: None)
    filters = Property(int, lambda self: 0, lambda self, filters: None)
