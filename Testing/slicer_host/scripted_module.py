"""Stand-ins for the base classes of a scripted module: their names, attributes and order of calls."""

from __future__ import annotations

import importlib
import unittest
from pathlib import Path

import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ScriptedLoadableModule:
    """Describes a module. `runTest()` runs the class of its file whose name ends in Test."""

    def __init__(self, parent) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def runTest(self) -> None:
        test = getattr(importlib.import_module(self.__module__), f"{self.moduleName}Test")
        test().runTest()


class ScriptedLoadableModuleWidget:
    """Holds the panel; `parent` is the widget around it."""

    def __init__(self, parent) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)


class ScriptedLoadableModuleLogic:
    """The module without its panel."""

    def __init__(self) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A test that Slicer runs in itself."""

    def delayDisplay(self, message: str) -> None:
        """Show nothing: nobody watches."""

    def runTest(self) -> None:
        pass
