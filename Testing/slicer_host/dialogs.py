"""Boxes and pickers that would stop a test: what they say is kept, and the test answers for the person.

    desktop.answers.buttons.append("No")
    desktop.answers.files.append("report.pdf")
    ...
    assert "replace" in desktop.answers.asked[-1]

An answer that nobody gave is Escape: a box says Cancel, No or Close, a picker gives no path.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.scriptable import stand_in


@dataclass
class Answers:
    """What the person will do, and what the module showed.

    Attributes:
        buttons: Names of the buttons to press, first to last ("Yes", "Cancel", ...).
        files: Paths to pick, first to last.
        asked: Texts of the boxes and titles of the pickers that came up.
        opened: Addresses that the module handed to the desktop (a browser, a file manager).
    """

    buttons: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything."""
        for told in (self.buttons, self.files, self.asked, self.opened):
            told.clear()

    def pick(self, title: str) -> str:
        """Return the next path."""
        self.asked.append(title)
        return self.files.pop(0) if self.files else ""


answers = Answers()


@stand_in("ctkMessageBox")
class ctkMessageBox(QtWidgets.QMessageBox):
    """The box behind `slicer.util.confirmYesNoDisplay` and its kin."""

    def exec_(self) -> int:
        answers.asked.append(self.text)
        if answers.buttons:
            return QtWidgets.QMessageBox.StandardButton[answers.buttons.pop(0)].value
        escape = [QtWidgets.QMessageBox.StandardButton[name] for name in ("Cancel", "No", "Close", "Ok")]
        return next(button for button in escape if button in self.standardButtons).value


class QFileDialog(QtWidgets.QFileDialog):
    """Pickers that return one path, as PythonQt's do."""

    @staticmethod
    def getOpenFileName(_parent: object = None, caption: str = "", *_rest: object) -> str:
        return answers.pick(caption)

    getSaveFileName = getOpenFileName
    getExistingDirectory = getOpenFileName


class QDesktopServices(QtGui.QDesktopServices):
    """Opens nothing."""

    @staticmethod
    def openUrl(url: QtCore.QUrl) -> bool:
        answers.opened.append(url.toString())
        return True
