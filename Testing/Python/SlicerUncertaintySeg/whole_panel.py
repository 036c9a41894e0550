"""Somebody at the whole module, loaded as Slicer does it, and somebody else who notes whatever goes wrong unseen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import slicer
import vtk

MODULE = Path(__file__).resolve().parents[3] / "SlicerUncertaintySeg" / "UncertaintySeg.py"
_PATIENCE = 30.0
_LEFT_ALONE = ("startButton",)  # starts a server of its own
STAY = (
    *(*_LEFT_ALONE, "next_case", "submit", "nextButton", "skipButton", "previousButton", "casesTable", "runButton"),
    *("submitButton", "submitNextButton", "restoreButton", "discardButton", "connectButton", "connect", "segment"),
)
"""What `press_everything` leaves out to stay with the label that is drawn."""


class Watch:
    """Collects what no user may ever cause: tracebacks, unexpected errors, complaints of VTK and Qt.

    Attributes:
        troubles: One text each.
        vtk_expected: Whether VTK may complain, say of a file that is broken.
    """

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.vtk_expected = False
        self._handler = logging.Handler()
        self._handler.emit = self._on_log

    def _on_exception(self, kind, error, _traceback) -> None:
        import traceback

        self.troubles.append("".join(traceback.format_exception(kind, error, error.__traceback__)))

    def _on_unraisable(self, what) -> None:
        self._on_exception(what.exc_type, what.exc_value, None)

    def _on_log(self, record: logging.LogRecord) -> None:
        if record.exc_info or "Traceback" in record.getMessage():
            self.troubles.append(f"{record.name}: {record.getMessage()} {record.exc_info}")

    def _on_vtk(self, _caller, _event, text: str) -> None:
        if not self.vtk_expected:
            self.troubles.append(text)

    def _on_qt(self, text: str) -> None:
        if "propagateSizeHints" not in text:  # of the off-screen platform
            self.troubles.append(text)

    def on_status(self, state) -> None:
        if state.message.startswith("Unexpected error") and state.message not in self.troubles:
            self.troubles.append(state.message)

    @contextmanager
    def watching(self) -> Iterator[None]:
        from PySide6 import QtCore

        before = sys.excepthook, sys.unraisablehook
        sys.excepthook, sys.unraisablehook = self._on_exception, self._on_unraisable
        logging.getLogger().addHandler(self._handler)
        self._on_vtk.__func__.CallDataType = vtk.VTK_STRING
        window = vtk.vtkOutputWindow.GetInstance()
        tags = [window.AddObserver(event, self._on_vtk) for event in ("ErrorEvent", "WarningEvent")]
        QtCore.qInstallMessageHandler(lambda _kind, _where, text: self._on_qt(text))
        try:
            yield
        finally:
            QtCore.qInstallMessageHandler(None)
            for tag in tags:
                window.RemoveObserver(tag)
            logging.getLogger().removeHandler(self._handler)
            sys.excepthook, sys.unraisablehook = before


class User:
    """Clicks, presses keys and draws; only what is enabled answers."""

    def __init__(self, desktop, host, module, watch: Watch) -> None:
        self.desktop, self.host, self.module, self.watch = desktop, host, module, watch
        self.panel = module.widget.panel
        self.session = self.panel.session
        self.scene, self.state = self.session.scene, self.session.state
        self.edit = self.panel.sections["Edit"]
        self.regions = self.panel.sections["Regions"]
        self.session.changed.connect(lambda: watch.on_status(self.state))

    def ui(self, section: str):
        return self.panel.sections[section].ui

    @property
    def status(self) -> str:
        return self.panel.ui.statusLabel.text

    @property
    def is_error(self) -> bool:
        return self.state.is_error

    def start(self, section: str, button: str) -> None:
        """Click a button, and do not wait."""
        from PySide6 import QtCore, QtTest

        widget = getattr(self.ui(section), button)
        self.panel.sections[section].button.collapsed = False
        self.desktop.process_events()
        assert widget.isVisible(), f"{button} is hidden: {self.status}"
        assert widget.isEnabled(), f"{button} is disabled: {self.status}"
        QtTest.QTest.mouseClick(widget, QtCore.Qt.LeftButton)

    def press(self, section: str, button: str) -> None:
        """Click a button and wait for all that comes of it."""
        self.start(section, button)
        self.wait()

    def key(self, keys: str) -> None:
        """Press a key, and do not wait."""
        self.desktop.press_key(keys)

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Until nothing is asked any more."""
        session = self.session
        self.desktop.wait_until(lambda: not session.busy and not session.worker.pending and until(), _PATIENCE)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        self.desktop.wait_until(condition, _PATIENCE)

    def connect(self, url: str, token: str = "") -> None:
        ui = self.ui("Server")
        ui.serverLineEdit.setText(url)
        ui.tokenLineEdit.setText(token)
        ui.clientIdLineEdit.setText("anna")
        self.press("Server", "connectButton")

    def next_case(self) -> None:
        self.press("Cases", "nextButton")

    def open(self, case: str) -> None:
        """Double-click a case in the table."""
        table = self.ui("Cases").casesTable
        row = next(row for row in range(table.rowCount) if table.item(row, 0).text() == case)
        table.cellDoubleClicked.emit(row, 0)
        self.wait()

    def choose_model(self, name: str) -> None:
        """Choose a model by its task and the rest of its name."""
        for box, text in zip(("taskComboBox", "modelComboBox"), name.split("_", 1), strict=True):
            combo_box = getattr(self.ui("Segment"), box)
            combo_box.setCurrentIndex(combo_box.findText(text))
        self.wait()
        assert self.state.model == name

    def run(self) -> None:
        self.press("Segment", "runButton")

    def begin(self, url: str, *, anyway: bool = False) -> None:
        """Connect, take a case and segment it; `anyway` where something of it may be wrong."""
        self.connect(url)
        self.next_case()
        self.run()
        assert anyway or not self.is_error, self.status

    def ras(self, ijk) -> tuple[float, ...]:
        """Where a voxel of the scan's file is."""
        from UncertaintySegLib.scene.navigation import file_to_ras

        return tuple((file_to_ras(self.scene.scan) @ [*ijk, 1.0])[:3].tolist())

    def paint(self, ijk, radius_mm: float = 3.0, *, name: str = "organ") -> None:
        """Draw a ball with the Segment Editor, anywhere."""
        self.ui("Edit").insideRiskCheckBox.setChecked(False)
        contents = self.scene.segmentation.GetSegmentation()
        self.edit.editor.setCurrentSegmentID(contents.GetSegmentIdBySegmentName(name))
        self.desktop.paint(self.edit.editor, self.ras(ijk), radius_mm)
        self.desktop.process_events()

    def click_at(self, ijk) -> None:
        """Place a click on a voxel, in the first slice view."""
        view = self.host.slice_view("Red")
        view.jump_to(self.ras(ijk))
        view.pointer.click(view.pixel_of(self.ras(ijk)))
        self.desktop.process_events()

    def drawn(self) -> np.ndarray:
        """The label as it would be sent, I J K."""
        file = self.session.folder / "drawn.nii"
        self.scene.write_label(file)
        return np.asarray(nib.load(file).dataobj)

    def drafts(self) -> list[np.ndarray]:
        """The labels of all drafts on disk."""
        from UncertaintySegLib.panel import edit_section

        files = sorted(edit_section.default_folder().glob("*/label-*.nii"))
        return [np.asarray(nib.load(file).dataobj) for file in files]

    def press_everything(self, leave_out: tuple[str, ...] = _LEFT_ALONE, *, only: tuple[str, ...] = ()) -> None:
        """Press every key and every button that is enabled, and move every slider, one after the other.

        Args:
            leave_out: What is left alone.
            only: What alone is pressed, say what an earlier call left out.
        """
        from PySide6 import QtWidgets

        from UncertaintySegLib.logic import keyboard

        def wanted(name: str) -> bool:
            return name not in leave_out and (not only or name in only)

        for key in keyboard.KEYS:
            if wanted(key.name):
                self.key(key.sequences[0])
        for section in self.panel.sections.values():
            section.button.collapsed = False
            self.desktop.process_events()
            for name, widget in vars(section.ui).items():
                within_reach = isinstance(widget, QtWidgets.QWidget) and widget.isVisible() and widget.isEnabled()
                if within_reach and wanted(name):
                    self.touch(name, widget)
        self.wait()

    def touch(self, name: str, widget, at: float = 0.5) -> None:
        """Do to a widget what a hand does; `at`, 0 to 1, says where."""
        from PySide6 import QtCore, QtTest

        if name.endswith(("Button", "CheckBox")):
            QtTest.QTest.mouseClick(widget, QtCore.Qt.LeftButton)
        elif name.endswith(("Slider", "SpinBox")):
            widget.setValue(type(widget.value)(widget.minimum + at * (widget.maximum - widget.minimum)))
        elif name.endswith("ComboBox") and hasattr(widget, "count") and widget.count:
            widget.setCurrentIndex(min(int(at * widget.count), widget.count - 1))
        elif name.endswith("Table") and widget.rowCount and widget.item(0, 0):
            row = min(int(at * widget.rowCount), widget.rowCount - 1)
            place = widget.visualItemRect(widget.item(row, 0)).center()
            QtTest.QTest.mouseClick(widget.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, place)
        self.desktop.process_events()


def only_when_asked() -> None:
    """Let nothing be segmented or prefetched by itself: most tests say when."""
    from UncertaintySegLib.logic import settings

    for key in ("segmentByItself", "prefetch"):
        settings.remember(key, False)


@contextmanager
def sitting_down(host, folder: Path, monkeypatch, *, by_itself: bool = False) -> Iterator[User]:
    """Load the module with settings, drafts and downloads of its own; fail for whatever went wrong unseen.

    With `by_itself` cases are segmented and prefetched as they are unless somebody says otherwise.
    """
    from slicer_host import desktop
    from UncertaintySegLib.panel import edit_section

    slicer.app.userSettings().clear()
    if not by_itself:
        only_when_asked()
    monkeypatch.setattr(edit_section, "default_folder", lambda: folder / "drafts")
    monkeypatch.setattr(slicer.app, "temporaryPath", str(folder))
    desktop.answers.clear()
    watch = Watch()
    with watch.watching():
        module = desktop.load_module(MODULE)
        user = User(desktop, host, module, watch)
        yield user
        desktop.process_events()
        module.close()
        desktop.process_events()
    slicer.app.userSettings().clear()
    assert not watch.troubles, "\n".join(watch.troubles)
