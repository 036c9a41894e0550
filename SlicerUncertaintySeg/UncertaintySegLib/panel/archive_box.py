"""The button that sends label and report to the archive."""

from __future__ import annotations

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic.archive import Archive, Write
from UncertaintySegLib.logic.session import Session


class ArchiveBox:
    """Shows where label and report would go, and asks before they do.

    Args:
        ui: Has the widgets.
        session: Whose case is sent.
        write: Writes the report as PDF.
    """

    def __init__(self, ui, session: Session, write: Write) -> None:
        self._ui = ui
        self.logic = Archive(session, agrees, write)
        ui.archiveButton.clicked.connect(lambda *_checked: self.logic.send())

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        ui, logic, hint = self._ui, self.logic, self.logic.hint()
        ui.archiveButton.setVisible(bool(logic.address))
        ui.archiveButton.setEnabled(logic.is_possible)
        ui.archiveLabel.setText(hint)
        ui.archiveLabel.setVisible(bool(hint))


def agrees(question: str) -> bool:
    """Ask; whoever just presses Enter has not agreed."""
    box = ctk.ctkMessageBox(slicer.util.mainWindow())
    box.setWindowTitle(_("Send to the archive"))
    box.setIcon(qt.QMessageBox.Question)
    box.setText(question)
    box.setStandardButtons(qt.QMessageBox.Ok | qt.QMessageBox.Cancel)
    box.setDefaultButton(qt.QMessageBox.Cancel)
    box.button(qt.QMessageBox.Ok).setText(_("Send"))
    try:
        return box.exec_() == qt.QMessageBox.Ok
    finally:
        box.deleteLater()
