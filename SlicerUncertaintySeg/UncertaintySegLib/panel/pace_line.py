"""How fast the work goes, in a line; and where the file is that has it case by case."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.pace import Pace


class PaceLine:
    """Connects the widgets of Cases.ui that are about the pace.

    Args:
        ui: The widgets by name.
        pace: Notes what is submitted.
    """

    def __init__(self, ui, pace: Pace) -> None:
        self.ui, self.pace = ui, pace
        ui.paceButton.clicked.connect(self.on_folder)
        pace.changed.connect(self.refresh)
        self.refresh()

    def on_folder(self, *_arguments) -> None:
        """Choose where the file is kept."""
        chosen = qt.QFileDialog.getExistingDirectory(
            self.ui.paceButton, _("Folder for the list of your work"), str(self.pace.file.parent)
        )
        if chosen:
            settings.remember("workFolder", chosen)
            self.refresh()

    def refresh(self) -> None:
        """Show the pace, and what is wrong with the file."""
        ui, pace = self.ui, self.pace
        ui.paceLabel.setText("\n".join(filter(None, (pace.text, pace.problem))) or _("Nothing was submitted yet."))
        ui.paceLabel.setToolTip(_("Since Slicer was started. Each submitted case is a row of {file}.").format(
            file=pace.file
        ))  # fmt: skip
