"""Somebody at the Risk section."""

from __future__ import annotations

from pathlib import Path


class User:
    """Clicks and looks."""

    def __init__(self, desktop, panel) -> None:
        self.desktop, self.panel = desktop, panel
        self.section = panel.sections["Risk"]
        self.ui, self.session = self.section.ui, panel.session
        self.scene = self.session.scene

    def wait(self) -> None:
        self.desktop.wait_until(lambda: not self.session.busy and not self.session.worker.pending)

    def choose(self, combo_box, text: str) -> None:
        texts = [combo_box.itemText(index) for index in range(combo_box.count)]
        assert text in texts, texts
        combo_box.setCurrentIndex(texts.index(text))

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        assert button.isEnabled(), button.objectName
        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def click_cell(self, row: int, *, twice: bool = False) -> None:
        from PySide6 import QtCore, QtTest

        table = self.ui.structuresTable
        place = table.visualItemRect(table.item(row, 0)).center()
        QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.LeftButton, pos=place)
        if twice:
            QtTest.QTest.mouseDClick(table.viewport(), QtCore.Qt.LeftButton, pos=place)

    def column(self, column: int) -> list[str]:
        table = self.ui.structuresTable
        return [table.item(row, column).text() for row in range(table.rowCount)]

    def picture(self, path: Path) -> None:
        self.desktop.process_events()
        assert self.panel.widget.grab().save(str(path))
