"""The module's panel, driven as a person drives it: real clicks on real widgets, a real scene behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6")

MODULE = Path(__file__).resolve().parents[3] / "SlicerUncertaintySeg" / "UncertaintySeg.py"


@pytest.fixture
def desktop(host):
    from slicer_host import desktop

    desktop.start()
    return desktop


class User:
    """Clicks and looks."""

    def __init__(self, desktop, module) -> None:
        self.desktop = desktop
        self.module = module
        self.panel = module.widget.panel
        self.ui = self.panel.ui
        self.case = self.panel.review.case

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def wait(self, seconds: float = 10.0) -> None:
        self.desktop.wait_until(lambda: not self.panel.review.busy, seconds)

    def connect(self, url: str) -> None:
        self.ui.serverLineEdit.setText(url)
        self.click(self.ui.connectButton)
        self.wait()

    def segment(self, url: str) -> None:
        """Connect, take the next case, and run the model."""
        self.connect(url)
        self.click(self.ui.nextCaseButton)
        self.wait()
        self.click(self.ui.runButton)
        self.wait()

    @property
    def status(self) -> str:
        return self.ui.statusLabel.text

    def table(self) -> list[list[str]]:
        table = self.ui.structuresTable
        return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]

    def picture(self, path: Path) -> np.ndarray:
        assert self.module.window.grab().save(str(path))
        image = self.module.window.grab().toImage().convertToFormat(_rgb888())
        pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def _rgb888():
    from PySide6.QtGui import QImage

    return QImage.Format_RGB888


@pytest.fixture
def user(desktop, host):
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    module = desktop.load_module(MODULE)
    yield User(desktop, module)
    module.close()


def test_closing_the_scene_forgets_the_case(user, wire_server, host):
    user.segment(wire_server.url)
    host.clear()
    user.desktop.process_events()
    assert user.ui.caseNameLabel.text == "none"
    assert user.table() == []
    assert not user.ui.submitButton.enabled
    user.click(user.ui.nextCaseButton)
    user.wait()
    assert user.ui.caseNameLabel.text == "phantom_1"


def test_nothing_in_the_panel_is_cut_off(user, wire_server):
    user.segment(wire_server.url)
    user.desktop.process_events()
    ui = user.ui
    for label in (ui.connectButton, ui.nextCaseButton, ui.runButton, ui.cancelButton, ui.thresholdLabel, ui.modelLabel):
        assert label.width >= label.fontMetrics().horizontalAdvance(label.text)
    table = ui.structuresTable
    assert table.horizontalHeader().length() <= table.width
    assert all(table.columnWidth(column) >= table.sizeHintForColumn(column) for column in range(4))


def test_the_modules_own_self_test_passes(user):
    user.module.instance.runTest()
