"""The part of the panel where a volume of the scene is sent to the server, with the user's consent."""

from __future__ import annotations

from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.intake import Intake
from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.panel.channels_box import ChannelsBox
from UncertaintySegLib.scene import flat, intake, pictures


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
        self.channels = ChannelsBox(ui.channelsWidget, self.look)
        self._offender = ui.volumeComboBox
        ui.volumeComboBox.setMRMLScene(slicer.mrmlScene)
        ui.volumeComboBox.connect("currentNodeChanged(vtkMRMLNode*)", self.on_volume)
        ui.copyButton.clicked.connect(self.on_copy)
        ui.clipCheckBox.clicked.connect(self.on_kind)
        ui.spacingCheckBox.clicked.connect(self.on_kind)
        ui.consentCheckBox.toggled.connect(lambda *_arguments: self.refresh())
        ui.uploadNameLineEdit.textChanged.connect(lambda *_arguments: self.refresh())
        ui.uploadButton.clicked.connect(self.on_upload)
        self.on_volume()

    def on_volume(self, *_arguments) -> None:
        """Propose the volumes of further channels, and look at all that are chosen."""
        self.channels.propose(self.ui.volumeComboBox.currentNode())
        self.look()

    def look(self) -> None:
        """Look at the chosen volumes; consent given for others does not count."""
        volume, ui = self.ui.volumeComboBox.currentNode(), self.ui
        problem = self._problem() if volume is not None else None
        usable = volume is not None and problem is None
        ui.consentCheckBox.setChecked(False)
        ui.uploadNameLineEdit.setText(intake.proposed_id(volume) if usable else "")
        ui.volumeProblemLabel.setText(str(problem or ""))
        ui.volumeProblemLabel.setVisible(problem is not None)
        ui.copyButton.setVisible(isinstance(problem, intake.NeedsCopyError))
        for widget in (ui.uploadNameLabel, ui.uploadNameLineEdit, ui.consentLabel, ui.consentCheckBox):
            widget.setVisible(usable)
        self._show_kind(volume)
        self.refresh()

    def on_copy(self, *_arguments) -> None:
        """Make a copy that can be used, and choose it."""
        try:
            self._offender.setCurrentNode(intake.usable_copy(self._offender.currentNode()))
        except SceneError as error:
            self.logic.session.fail(error)

    def on_kind(self, *_arguments) -> None:
        """Take the volume for a clip or not, and its spacing for known or not, as the boxes say."""
        volume = self.ui.volumeComboBox.currentNode()
        if volume is not None:
            flat.set_clip(volume, bool(self.ui.clipCheckBox.checked))
            flat.set_spacing_known(volume, not self.ui.spacingCheckBox.checked)
            self.look()

    def on_upload(self, *_arguments) -> None:
        """Send the volume."""
        volume = self.ui.volumeComboBox.currentNode()
        if volume is not None:
            self.channels.remember(volume)
        self.logic.send(volume, self.ui.uploadNameLineEdit.text, self._volumes())
        self.ui.consentCheckBox.setChecked(False)

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        session, ui = self.logic.session, self.ui
        model = session.state.info.models.get(session.state.model) if session.state.info is not None else None
        names = model.channels if model is not None else ()
        if len(names) < 2:
            names = ()
        if names != self.channels.names:
            self.channels.show(names)
            ui.volumeLabel.setText(f"{names[0]}:" if names else _("Volume:"))
            self.channels.align(ui.volumeLabel, ui.uploadNameLabel)
            self.on_volume()
            return
        volume = ui.volumeComboBox.currentNode()
        if volume is not None and volume.GetImageData() is not None:
            text = _("All voxels of {volume} ({megabytes:.1f} MB) will be copied to {server} as '{name}'.")
            sent = [node for node in (self._volumes() or {"": volume}).values() if node is not None]
            size = sum(node.GetImageData().GetActualMemorySize() for node in sent if node.GetImageData()) / 1024
            said, name = ", ".join(node.GetName() for node in sent), ui.uploadNameLineEdit.text
            ui.consentLabel.setText(text.format(volume=said, megabytes=size, server=session.url, name=name))
        ready = session.state.info is not None and not session.busy and not session.state.read_only
        ui.uploadButton.setEnabled(bool(ready and volume is not None and ui.consentCheckBox.checked))

    def _show_kind(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Offer what may be said of images and clips; a scan of several channels is a volume."""
        ui, one = self.ui, volume is not None and not self.channels.names
        slices = flat.slices(volume) if one and not pictures.is_frame(volume) else 0
        is_flat = slices > 0 and flat.is_flat(volume)
        ui.clipCheckBox.setChecked(is_flat and flat.is_clip(volume))
        ui.clipCheckBox.setVisible(slices > 1)
        ui.spacingCheckBox.setChecked(is_flat and not flat.spacing_known(volume))
        ui.spacingCheckBox.setVisible(is_flat)

    def _volumes(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode | None]:
        """All channels with what is chosen for them; empty where the model takes one."""
        if not self.channels.names:
            return {}
        return {self.channels.names[0]: self.ui.volumeComboBox.currentNode(), **self.channels.volumes()}

    def _problem(self) -> SceneError | None:
        """Why what is chosen cannot be sent; where a copy of one volume could, its selector is the offender."""
        selectors = [self.ui.volumeComboBox, *self.channels.selectors.values()]
        try:
            for self._offender in selectors:
                if self._offender.currentNode() is not None:
                    intake.check_volume(self._offender.currentNode())
            if self.channels.names:
                intake.check_channels(self._volumes())
        except SceneError as error:
            return error
        return None
