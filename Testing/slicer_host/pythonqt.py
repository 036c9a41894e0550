"""PySide6 dressed as PythonQt: a `qt` module whose objects have their Qt properties as attributes.

PythonQt, which Slicer uses, reads `line_edit.text` where PySide6 reads `line_edit.text()`; both write with
`setText(...)` and connect with `button.clicked.connect(...)`. So the properties are all that has to change.

PythonQt's other way, `widget.connect("clicked(bool)", f)`, works for the stand-ins (`slicer.app`, ctk and qMRML
widgets) but not for Qt's own, whose `connect` PySide6 lets nobody replace.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import ModuleType

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# Virtual methods of C++ that happen to be properties too: PySide6 would take ours for an override.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}


def make_qt_module(custom_widgets: Sequence[type[QtWidgets.QWidget]], replaced: Sequence[type]) -> ModuleType:
    """Return the `qt` module; its `QUiLoader` knows the custom widgets, and `replaced` stand for Qt's own of that name.

    This changes PySide6's own classes, for the whole process.
    """
    qt = ModuleType("qt", doc="PySide6 dressed as PythonQt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            value = getattr(source, name)
            if name.startswith("Q"):
                setattr(qt, name, value)
            if inspect.isclass(value) and issubclass(value, QtCore.QObject):
                _expose_properties(value)
    QtCore.QObject.name = _attribute("objectName")
    QtCore.QObject.className = lambda self: self.metaObject().className()

    loader = QtUiTools.QUiLoader()
    for widget in custom_widgets:
        loader.registerCustomWidget(widget)  # known to every loader that is made from now on
    qt.QUiLoader = QtUiTools.QUiLoader
    for cls in replaced:
        setattr(qt, cls.__name__, cls)
    return qt


def _expose_properties(cls: type[QtCore.QObject]) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name not in _VIRTUAL:
            setattr(cls, name, _attribute(name))


def _attribute(name: str) -> property:
    def read(self: QtCore.QObject) -> object:
        return QtCore.QObject.property(self, name)

    def write(self: QtCore.QObject, value: object) -> None:
        QtCore.QObject.setProperty(self, name, value)

    return property(read, write)
