"""The smaller ctk widgets that a panel may use: inputs, with the properties and signals of the real ones."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.dialogs import answers
from slicer_host.pythonqt import connectable


@connectable
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """A spin box for real numbers."""


@connectable
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that shows a text while nothing is selected."""

    defaultText = Property(str, lambda self: self.placeholderText, lambda self, text: self.setPlaceholderText(text))


@connectable
class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit for searching."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Search...")
        self.setClearButtonEnabled(True)

    showSearchIcon = Property(bool, lambda self: True, lambda self, shown: None)


@connectable
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that hides its contents when its title is unchecked."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._show)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, folded: self.setChecked(not folded))

    def showEvent(self, _event: object) -> None:
        self._show(self.isChecked())

    def _show(self, shown: bool) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(shown)


@connectable
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, typed or picked."""

    currentPathChanged = Signal(str)
    Dirs = 1

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.line_edit = QtWidgets.QLineEdit()
        self.browse_button = QtWidgets.QToolButton()
        self.browse_button.setText("...")
        layout.addWidget(self.line_edit, 1)
        layout.addWidget(self.browse_button)
        self.line_edit.textChanged.connect(self.currentPathChanged)
        self.browse_button.clicked.connect(self.browse)

    def setCurrentPath(self, path: str) -> None:
        self.line_edit.setText(path)

    def browse(self) -> None:
        """Pick a path, as the button does."""
        path = answers.pick("Select a path")
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self) -> None:
        """Nothing: the history is not kept."""

    currentPath = Property(str, lambda self: self.line_edit.text, setCurrentPath)
    settingKey = Property(str, lambda self: "", lambda self, key: None)
    filters = Property(int, lambda self: 0, lambda self, filters: None)


@connectable
class ctkRangeWidget(QtWidgets.QWidget):
    """Two real numbers, the lower and the upper end of a range."""

    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.lower, self.upper = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        for spin_box in (self.lower, self.upper):
            spin_box.setRange(0, 99)
            layout.addWidget(spin_box, 1)
        self.upper.setValue(99)
        self.lower.valueChanged.connect(lambda value: self._changed(self.minimumValueChanged, value))
        self.upper.valueChanged.connect(lambda value: self._changed(self.maximumValueChanged, value))

    def setValues(self, lower: float, upper: float) -> None:
        self.lower.setValue(min(lower, upper))
        self.upper.setValue(max(lower, upper))

    def setRange(self, minimum: float, maximum: float) -> None:
        for spin_box in (self.lower, self.upper):
            spin_box.setRange(minimum, maximum)

    def _set(self, method: str, value: object) -> None:
        for spin_box in (self.lower, self.upper):
            getattr(spin_box, method)(value)

    def _changed(self, signal: QtCore.SignalInstance, value: float) -> None:
        signal.emit(value)
        self.valuesChanged.emit(self.lower.value, self.upper.value)

    minimumValue = Property(float, lambda self: self.lower.value, lambda self, value: self.lower.setValue(value))
    maximumValue = Property(float, lambda self: self.upper.value, lambda self, value: self.upper.setValue(value))
    minimum = Property(float, lambda self: self.lower.minimum, lambda self, value: self._set("setMinimum", value))
    maximum = Property(float, lambda self: self.lower.maximum, lambda self, value: self._set("setMaximum", value))
    singleStep = Property(
        float, lambda self: self.lower.singleStep, lambda self, value: self._set("setSingleStep", value)
    )
    decimals = Property(int, lambda self: self.lower.decimals, lambda self, value: self._set("setDecimals", value))


INPUTS = (ctkDoubleSpinBox, ctkComboBox, ctkSearchBox, ctkCollapsibleGroupBox, ctkPathLineEdit, ctkRangeWidget)
