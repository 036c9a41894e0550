"""The Qt side of Slicer, as far as a scripted module's panel needs it: stand-ins over PySide6, off screen.

    from slicer_host import desktop

    host = desktop.start()
    module = desktop.load_module("SlicerUncertaintySeg/UncertaintySeg.py")
    module.window.grab().save("panel.png")

The scene and its logics are the real ones of `slicer_host.start()`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_host import application, ctk_widgets, pythonqt, scripted_module

_application: QtWidgets.QApplication | None = None


@dataclass(frozen=True)
class LoadedModule:
    """A scripted module with its panel in a window of its own.

    Attributes:
        python: The imported module file.
        instance: Its module class.
        widget: Its widget class, after `setup()`.
        window: The Qt window around the panel.
    """

    python: ModuleType
    instance: Any
    widget: Any
    window: QtWidgets.QWidget

    def close(self) -> None:
        """Unload the module as Slicer does."""
        self.widget.cleanup()
        self.window.close()
        self.window.deleteLater()
        process_events()


def start() -> application.Host:
    """Start the Slicer core and an off-screen Qt application, and make `qt`, `ctk` and `slicer.*` importable."""
    global _application  # noqa: PLW0603
    host = application.start()
    if _application is None:
        settings = tempfile.mkdtemp(prefix="slicer_host_settings_")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, settings)
        _application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["slicer_host"])
        _application.setOrganizationName("slicer_host")
        _application.setStyle("Fusion")
        sys.modules["qt"] = pythonqt.make_qt_module(custom_widgets=ctk_widgets.WIDGETS)
        sys.modules["ctk"] = _module("ctk", {widget.__name__: widget for widget in ctk_widgets.WIDGETS})
        _add_to_slicer(
            "ScriptedLoadableModule", {name: getattr(scripted_module, name) for name in scripted_module.__all__}
        )
        _add_to_slicer("i18n", {"tr": lambda text: text, "translate": lambda _context, text: text})
        slicer.app.processEvents = process_events
        slicer.app.testingEnabled = lambda: True
    return host


def load_module(path: str | Path, size: tuple[int, int] = (420, 760)) -> LoadedModule:
    """Load a scripted module and open its panel, in the order in which Slicer does it."""
    path = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    python = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python
    spec.loader.exec_module(python)
    instance = getattr(python, path.stem)(SimpleNamespace(path=str(path), icon=None))
    setattr(slicer.modules, path.stem.lower(), SimpleNamespace(name=path.stem, path=str(path)))

    window = QtWidgets.QWidget()
    QtWidgets.QVBoxLayout(window)
    widget = getattr(python, f"{path.stem}Widget")(window)
    widget.setup()
    window.resize(*size)
    window.show()
    process_events()
    return LoadedModule(python, instance, widget, window)


def process_events() -> None:
    """Let Qt handle what has happened."""
    _application.processEvents()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let Qt run until a condition holds.

    Raises:
        TimeoutError: If it does not hold in time.
    """
    clock = QtCore.QElapsedTimer()
    clock.start()
    while not condition():
        if clock.elapsed() > 1000 * seconds:
            raise TimeoutError(f"Nothing happened within {seconds:g} s.")
        _application.processEvents(QtCore.QEventLoop.AllEvents | QtCore.QEventLoop.WaitForMoreEvents, 50)


def _module(name: str, contents: dict[str, Any]) -> ModuleType:
    module = ModuleType(name, doc="Stand-in of slicer_host")
    module.__dict__.update(contents)
    return module


def _add_to_slicer(name: str, contents: dict[str, Any]) -> None:
    module = _module(f"slicer.{name}", contents)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
