"""The Qt side of Slicer, as far as a scripted module's panel needs it: stand-ins over PySide6, off screen.

    from slicer_host import desktop

    host = desktop.start()
    module = desktop.load_module("SlicerUncertaintySeg/UncertaintySeg.py")
    module.window.grab().save("panel.png")
    desktop.screenshot("slicer.png")

The scene and its logics are the real ones of `slicer_host.start()`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from shiboken6 import isValid

from headless_slicer import application
from slicer_host import (
    dialogs,
    event_loop,
    garbage,
    module_manager,
    pythonqt,
    sample_data,
    scripted_module,
)
from slicer_host.ctk_inputs import ctkPathLineEdit, ctkSliderWidget
from slicer_host.ctk_widgets import ctkCollapsibleButton, ctkCollapsibleGroupBox
from slicer_host.dialogs import answers
from slicer_host.event_loop import process_events, wait_until
from slicer_host.main_window import Desk
from slicer_host.node_combo_box import qMRMLNodeComboBox
from slicer_host.qt_application import SlicerApplication
from slicer_host.segment_editor import qMRMLSegmentEditorWidget
from slicer_host.strokes import erase, paint

__all__ = [
    "LoadedModule",
    "answers",
    "discard",
    "erase",
    "load_module",
    "paint",
    "press_key",
    "process_events",
    "screenshot",
    "start",
    "wait_until",
]

_application: SlicerApplication | None = None
_desk: Desk | None = None


@dataclass(frozen=True)
class LoadedModule:
    """A scripted module with its panel in the main window.

    Attributes:
        python: The imported module file.
        instance: Its module class.
        widget: Its widget class, after `setup()`.
        window: The Qt widget around the panel.
    """

    python: ModuleType
    instance: Any
    widget: Any
    window: QtWidgets.QWidget

    def close(self) -> None:
        """Unload the module as Slicer does; once is enough."""
        if not isValid(self.window):
            return
        self.widget.cleanup()
        _desk.window.moduleSelector().selectedModule = ""
        if self.window.parent() is not None:
            _desk.take_panel()
        discard(self.window)


def start(hold_lock: bool | None = None) -> application.Host:
    """Start the Slicer core and an off-screen Qt application, and make `qt`, `ctk` and `slicer.*` importable.

    Args:
        hold_lock: Whether Python threads stand still while the host idles, as in Slicer. By default what the
            environment variable SLICER_HOST_HOLD_LOCK says: 1 (also when absent) or 0.
    """
    global _application, _desk  # noqa: PLW0603
    host = application.start()
    if hold_lock is not None:
        event_loop.hold_lock = hold_lock
    if _application is None:
        settings = tempfile.mkdtemp(prefix="slicer_host_settings_")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, settings)
        _application = SlicerApplication(host, settings)
        _make_importable()
        slicer.app = _application
        _desk = Desk(host)
        # The wheel's own looks through all top level widgets: PySide6 crashes on some that Qt is about to delete.
        slicer.util.mainWindow = lambda: _desk.window
        _desk.window.show()
        _desk.window.activateWindow()
        process_events()
        host.layout.show()
    return host


def _make_importable() -> None:
    ctk_widgets = (ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkSliderWidget, ctkPathLineEdit)
    mrml_widgets = (qMRMLNodeComboBox, qMRMLSegmentEditorWidget)
    sys.modules["qt"] = pythonqt.make_qt_module(
        custom_widgets=(*ctk_widgets, *mrml_widgets), replaced=(dialogs.QFileDialog, dialogs.QDesktopServices)
    )
    sys.modules["ctk"] = _module("ctk", {widget.__name__: widget for widget in (*ctk_widgets, dialogs.ctkMessageBox)})
    modules = (module_manager.qSlicerScriptedLoadableModule, module_manager.qSlicerScriptedLoadableModuleWidget)
    for cls in (*mrml_widgets, *modules):
        setattr(slicer, cls.__name__, cls)
    sys.modules["SampleData"] = _module("SampleData", {"SampleDataLogic": sample_data.SampleDataLogic})
    _add_to_slicer("ScriptedLoadableModule", {name: getattr(scripted_module, name) for name in scripted_module.__all__})


def load_module(path: str | Path, size: tuple[int, int] = (420, 760)) -> LoadedModule:
    """Load a scripted module and open its panel, in the order in which Slicer does it.

    Args:
        path: The module's Python file.
        size: Width of the panel and height of the main window in pixels.
    """
    path = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    python = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python
    spec.loader.exec_module(python)
    instance = getattr(python, path.stem)(SimpleNamespace(path=str(path), icon=None))
    # Widgets ask for their module's path while they are made.
    setattr(slicer.modules, path.stem.lower(), module_manager.qSlicerScriptedLoadableModule(path.stem, str(path)))

    window = QtWidgets.QWidget()
    QtWidgets.QVBoxLayout(window)
    widget = getattr(python, f"{path.stem}Widget")(window)
    setattr(slicer.modules, f"{path.stem}Widget", widget)
    module = module_manager.qSlicerScriptedLoadableModule(path.stem, str(path), widget)
    module.title = instance.parent.title
    setattr(slicer.modules, path.stem.lower(), module)
    widget.setup()
    _desk.window.resize(_desk.window.width, size[1])
    _desk.show_panel(window, size[0])
    _desk.window.activateWindow()
    _desk.window.moduleSelector().selectModule(path.stem)
    process_events()
    return LoadedModule(python, instance, widget, window)


def discard(window: QtWidgets.QWidget) -> None:
    """Close a window and delete it with all that is in it, which then watches the scene no more."""
    with garbage.kept_away():
        window.close()
        window.deleteLater()
        process_events()
        # Without Qt's own loop around us nobody else would delete it, nor what it has itself left to be deleted.
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


def press_key(keys: str) -> None:
    """Press keys ("N", "Ctrl+Z", "Space"): what has the focus in the main window, or in its open dialog, gets them."""
    process_events()
    if not isinstance(QtWidgets.QApplication.activeWindow(), QtWidgets.QDialog):
        _desk.window.activateWindow()
        process_events()
    window = QtWidgets.QApplication.activeWindow()
    QtTest.QTest.keySequence(window.focusWidget() or window, QtGui.QKeySequence(keys))
    process_events()


def screenshot(path: str | Path, size: tuple[int, int] = (1600, 900)) -> Path:
    """Write a picture of the main window: the panel on the left, the views of the layout on the right."""
    return _desk.screenshot(path, size)


def _module(name: str, contents: dict[str, Any]) -> ModuleType:
    module = ModuleType(name, doc="Stand-in of slicer_host")
    module.__dict__.update(contents)
    return module


def _add_to_slicer(name: str, contents: dict[str, Any]) -> None:
    module = _module(f"slicer.{name}", contents)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
