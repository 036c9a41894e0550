"""The modules by name, as `slicer.util.getModule` asks for them."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore

from slicer_host.pythonqt import connectable


class qSlicerScriptedLoadableModule:
    """A module as Slicer's module manager knows it."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.title = name
        self.representation: qSlicerScriptedLoadableModuleWidget | None = None

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        return self.representation


class qSlicerScriptedLoadableModuleWidget:
    """What Slicer puts around the Python widget."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget

    def self(self) -> Any:
        return self._widget


class ModuleSelector:
    """qSlicerModuleSelectorToolBar: one module is open at a time; its panel stays where it is."""

    def __init__(self) -> None:
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        if name != self.selectedModule:
            self._tell("exit")
            self.selectedModule = name
            self._tell("enter")

    def _tell(self, what: str) -> None:
        module = getattr(slicer.modules, self.selectedModule.lower(), None)
        widget = module.widgetRepresentation().self() if isinstance(module, qSlicerScriptedLoadableModule) else None
        if hasattr(widget, what):
            getattr(widget, what)()


@connectable
class ModuleManager(QtCore.QObject):
    """qSlicerModuleManager."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)
