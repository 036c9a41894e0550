"""The ctk widgets that carry the panel: its sections and its sliders."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.pythonqt import connectable

_HEADER_HEIGHT = 24


@connectable
class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section that hides its contents at a click on the title."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._collapsed = False
        self._hidden: list[QtWidgets.QWidget] = []
        self.setContentsMargins(0, _HEADER_HEIGHT, 0, 0)

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            children = self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly)
            self._hidden = [child for child in children if not child.isHidden()]
        for child in self._hidden:
            child.setVisible(not collapsed)
        self.setMaximumHeight(_HEADER_HEIGHT if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() < _HEADER_HEIGHT:
            self.setCollapsed(not self._collapsed)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = QtCore.QRect(0, 0, self.width, _HEADER_HEIGHT - 2)
        button.state |= QtWidgets.QStyle.State_Raised
        self.style().drawControl(QtWidgets.QStyle.CE_PushButtonBevel, button, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.rect, arrow.state = QtCore.QRect(6, 6, 10, 10), button.state
        kinds = QtWidgets.QStyle
        kind = kinds.PE_IndicatorArrowRight if self._collapsed else kinds.PE_IndicatorArrowDown
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.drawText(button.rect.adjusted(24, 0, 0, 0), QtCore.Qt.AlignVCenter, self._text)


@connectable
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one real number.

    As in the real one, only `setValue` can be called: the other setters are no slots, and work as properties only.
    """

    valueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._minimum, self._maximum, self._step, self._value, self._decimals = 0.0, 99.0, 1.0, 0.0, 2
        self.slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self.spin_box = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.spin_box)
        self.slider.valueChanged.connect(lambda step: self.setValue(self._minimum + step * self._step))
        self.spin_box.valueChanged.connect(self.setValue)
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
        self.spin_box.setSuffix(suffix)

    def _set_single_step(self, step: float) -> None:
        self._step = step
        self._refresh()

    def _set_decimals(self, decimals: int) -> None:
        self._decimals = decimals
        self._refresh()

    def _refresh(self) -> None:
        for part in (self.slider, self.spin_box):
            part.blockSignals(True)
        self.slider.setRange(0, round((self._maximum - self._minimum) / self._step))
        self.slider.setValue(round((self._value - self._minimum) / self._step))
        self.spin_box.setDecimals(self._decimals)
        self.spin_box.setRange(self._minimum, self._maximum)
        self.spin_box.setSingleStep(self._step)
        self.spin_box.setValue(self._value)
        for part in (self.slider, self.spin_box):
            part.blockSignals(False)

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._minimum, _set_minimum)
    maximum = Property(float, lambda self: self._maximum, _set_maximum)
    singleStep = Property(float, lambda self: self._step, _set_single_step)
    decimals = Property(int, lambda self: self._decimals, _set_decimals)
    pageStep = Property(float, lambda self: self.slider.pageStep * self._step, lambda self, step: None)
    suffix = Property(str, lambda self: self.spin_box.suffix, _set_suffix)
    prefix = Property(str, lambda self: self.spin_box.prefix, lambda self, text: self.spin_box.setPrefix(text))
    tracking = Property(bool, lambda self: self.slider.tracking, lambda self, on: self.slider.setTracking(on))
    spinBoxVisible = Property(
        bool, lambda self: not self.spin_box.isHidden(), lambda self, shown: self.spin_box.setVisible(shown)
    )
