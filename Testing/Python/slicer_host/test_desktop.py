from __future__ import annotations

import numpy as np
import pytest
import slicer

MODULE = """
import slicer, qt
from slicer.ScriptedLoadableModule import *

class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tiny module"

class TinyWidget(ScriptedLoadableModuleWidget):
    entered = pressed = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.button = qt.QPushButton("Press")
        self.button.clicked.connect(self.press)
        self.layout.addWidget(self.button)
        self.shortcut = qt.QShortcut(qt.QKeySequence("N"), slicer.util.mainWindow())
        self.shortcut.activated.connect(self.press)

    def enter(self):
        self.entered += 1

    def cleanup(self):
        self.shortcut.setParent(None)

    def press(self):
        self.pressed += 1
"""

WINDOW = """
<ui version="4.0"><class>Window</class><widget class="QWidget" name="Window"><layout class="QVBoxLayout">
<item><widget class="QComboBox" name="choice"/></item><item><widget class="QTableWidget" name="table"/></item>
</layout></widget></ui>
"""


@pytest.fixture
def module(desktop, tmp_path):
    (tmp_path / "Tiny.py").write_text(MODULE)
    module = desktop.load_module(tmp_path / "Tiny.py")
    yield module
    module.close()


def test_a_module_is_set_up_and_entered(module):
    assert module.widget.entered == 1
    assert slicer.util.getModule("Tiny").title == "Tiny module"
    assert slicer.util.getModuleWidget("Tiny") is module.widget


def test_another_module_is_opened_instead(module):
    slicer.util.selectModule("Data")
    assert slicer.util.selectedModule() == "Data"
    slicer.util.selectModule("Tiny")
    assert module.widget.entered == 2


def test_keys_reach_the_shortcuts_of_the_window(module, desktop):
    desktop.press_key("N")
    assert module.widget.pressed == 1


def test_the_screenshot_has_panel_and_views(module, desktop, ramp, tmp_path):
    from PIL import Image

    slicer.util.setSliceViewerLayers(background=ramp, fit=True)
    desktop.screenshot(tmp_path / "window.png", (1200, 700))
    pixels = np.asarray(Image.open(tmp_path / "window.png").convert("RGB")).astype(int)
    assert pixels.shape == (700, 1200, 3)
    assert len(np.unique(pixels[:, 440:].reshape(-1, 3), axis=0)) > 50
    red_bar = (np.abs(pixels[5, 440:800] - (243, 74, 51)) < 4).all(axis=-1)
    assert red_bar.mean() > 0.8


def test_nothing_is_answered_but_what_the_test_says(desktop):
    desktop.answers.buttons.append("Yes")
    assert slicer.util.confirmYesNoDisplay("Replace the label?")
    assert not slicer.util.confirmYesNoDisplay("Replace the label?")
    assert not slicer.util.confirmOkCancelDisplay("Send the scan?")
    assert desktop.answers.asked == ["Replace the label?", "Replace the label?", "Send the scan?"]


def test_paths_are_picked_as_pythonqt_returns_them(desktop):
    import qt

    desktop.answers.files.append("/data/report.html")
    assert qt.QFileDialog.getSaveFileName(None, "Save the report", "", "*.html") == "/data/report.html"
    assert qt.QFileDialog.getSaveFileName(None, "Save the report") == ""


def test_opening_an_address_is_only_noted(desktop):
    import qt

    assert qt.QDesktopServices.openUrl(qt.QUrl("https://example.org/"))
    assert desktop.answers.opened == ["https://example.org/"]


def test_status_messages_go_to_the_main_window(desktop):
    assert slicer.util.showStatusMessage("Saved.", 1000)
    assert slicer.util.mainWindow().statusBar().currentMessage() == "Saved."


def test_signals_of_slicers_classes_connect_by_their_signature(desktop):
    import ctk

    seen = []
    button = ctk.ctkCollapsibleButton()
    button.connect("contentsCollapsed(bool)", seen.append)
    button.collapsed = True
    assert button.disconnect("contentsCollapsed(bool)", seen.append)
    button.collapsed = False
    slicer.app.connect("startupCompleted()", started := lambda: seen.append("started"))
    slicer.app.startupCompleted.emit()
    slicer.app.disconnect("startupCompleted()", started)
    assert seen == [True, "started"]


def test_settings_are_kept(desktop):
    slicer.app.userSettings().setValue("Tiny/size", 3)
    assert int(slicer.app.userSettings().value("Tiny/size")) == 3
    assert slicer.app.userSettings().value("Tiny/absent") is None


def test_the_environment_and_version_are_told(desktop):
    assert "PATH" in slicer.util.startupEnvironment()
    assert slicer.app.applicationVersion.startswith(f"{slicer.app.majorVersion}.{slicer.app.minorVersion}")


def test_samples_are_registered_and_loaded(desktop):
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category="Tiny", sampleName="one", uris=[], fileNames=[], customDownloader=lambda source: source.sampleName
    )
    assert SampleDataLogic().downloadSample("one") == "one"


def test_a_discarded_window_is_gone_with_all_that_is_in_it(desktop, tmp_path):
    from PySide6 import QtWidgets

    before = QtWidgets.QApplication.allWidgets()
    (tmp_path / "window.ui").write_text(WINDOW)
    window = slicer.util.loadUI(str(tmp_path / "window.ui"))
    window.show()
    desktop.process_events()
    assert not set(QtWidgets.QApplication.allWidgets()) <= set(before)
    desktop.discard(window)
    assert set(QtWidgets.QApplication.allWidgets()) <= set(before)
