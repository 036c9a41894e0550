"""The part of the panel where a volume of the scene is sent to the server, with the user's consent."""

from __future__ import annotations

from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.intake import Intake
from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.scene import intake


class IntakeBox:
    """Connects the widgets of Cases.ui that are about a volume of the scene.

    Args:
        ui: The widgets by name.
        logic: Sends the volume.
    """

    def __init__(self, ui: SimpleNamespace, logic: Intake) -> None:
        self.ui = ui
        self.logic = logic
        text_colors.style(ui.volumeProblemLabel, text_colors.ERROR)
        ui.volumeComboBox.setMRMLScene(slicer.mrmlScene)
        ui.volumeComboBox.connect("currentNodeChanged(vtkMRMLNode*)", self.on_volume)
        ui.copyButton.clicked.connect(self.on_copy)
        ui.consentCheckBox.toggled.connect(lambda *_arguments: self.refresh())
        ui.uploadNameLineEdit.textChanged.connect(lambda *_arguments: self.refresh())
        ui.uploadButton.clicked.connect(self.on_upload)
        self.on_volume()

    def on_volume(self, *_arguments) -> None:
        """Look at the chosen volume; consent given for another one does not count."""
        volume, ui = self.ui.volumeComboBox.currentNode(), self.ui
        problem = None
        if volume is not None:
            try:
                intake.check_volume(volume)
            except SceneError as error:
                problem = error
        usable = volume is not None and problem is None
        ui.consentCheckBox.setChecked(False)
        ui.uploadNameLineEdit.setText(intake.proposed_id(volume) if usable else "")
        ui.volumeProblemLabel.setText(str(problem or ""))
        ui.volumeProblemLabel.setVisible(problem is not None)
        ui.copyButton.setVisible(isinstance(problem, intake.NeedsCopyError))
        for widget in (ui.uploadNameLabel, ui.uploadNameLineEdit, ui.consentLabel, ui.consentCheckBox):
            widget.setVisible(usable)
        self.refresh()

    def on_copy(self, *_arguments) -> None:
        """Make a copy that can be used, and choose it."""
        try:
            self.ui.volumeComboBox.setCurrentNode(intake.usable_copy(self.ui.volumeComboBox.currentNode()))
        except SceneError as error:
            self.logic.session.fail(error)

    def on_upload(self, *_arguments) -> None:
        """Send the volume."""
        self.logic.send(self.ui.volumeComboBox.currentNode(), self.ui.uploadNameLineEdit.text)
        self.ui.consentCheckBox.setChecked(False)

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        session, ui = self.logic.session, self.ui
        volume = ui.volumeComboBox.currentNode()
        if volume is not None and volume.GetImageData() is not None:
            text = _("All voxels of {volume} ({megabytes:.1f} MB) will be copied to {server} as '{name}'.")
            size = volume.GetImageData().GetActualMemorySize() / 1024
            name = ui.uploadNameLineEdit.text
            ui.consentLabel.setText(text.format(volume=volume.GetName(), megabytes=size, server=session.url, name=name))
        ready = session.state.info is not None and not session.busy and not session.state.read_only
        ui.uploadButton.setEnabled(bool(ready and volume is not None and ui.consentCheckBox.checked))
