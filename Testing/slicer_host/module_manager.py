"""The modules by name, as `slicer.util.getModule` asks for them."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore

from slicer_host.scriptable import stand_in


@stand_in("qSlicerScriptedLoadableModule")
class qSlicerScriptedLoadableModule:
    """A module as Slicer's module manager knows it.

    Args:
        name: Its name, which is its title as well until it has another one.
        path: Its Python file.
        widget: Its Python widget, or None before it is opened.
    """

    title = ""

    def __init__(self, name: str, path: str, widget: Any = None) -> None:
        self._name, self._path, self._widget = name, path, widget
        self.title = name

    name = property(lambda self: self._name)
    path = property(lambda self: self._path)

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        return qSlicerScriptedLoadableModuleWidget(self._widget) if self._widget is not None else None


@stand_in("qSlicerScriptedLoadableModuleWidget")
class qSlicerScriptedLoadableModuleWidget:
    """What Slicer puts around the Python widget."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget

    def self(self) -> Any:
        return self._widget


@stand_in("qSlicerModuleSelectorToolBar")
class ModuleSelector:
    """One module is open at a time; its panel stays where it is."""

    selectedModule = ""

    def selectModule(self, name: str) -> None:
        if name != self.selectedModule:
            self._tell("exit")
            self.selectedModule = name
            self._tell("enter")

    def _tell(self, what: str) -> None:
        module = getattr(slicer.modules, self.selectedModule.lower(), None)
        representation = module.widgetRepresentation() if isinstance(module, qSlicerScriptedLoadableModule) else None
        if representation is not None and hasattr(representation.self(), what):
            getattr(representation.self(), what)()


@stand_in("qSlicerModuleManager")
class ModuleManager(QtCore.QObject):
    """The modules that there are."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)
