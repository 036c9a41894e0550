"""A volume that is already in the scene becomes work: it goes to the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.leases import lease_arguments
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import flat, intake, nodes
from UncertaintySegLib.server.replies import Sample
from UncertaintySegLib.server.sizes import TIME

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Intake:
    """Sends a volume of the scene to the server, where it is then a case like any other.

    Args:
        session: What all sections share.
        may_leave: Asked before a case with edits that were not submitted is left; False stays with it.
        opened: Gets the id of the case after it was opened.
    """

    def __init__(self, session: Session, may_leave: Callable[[], bool], opened: Callable[[str], None]) -> None:
        self.session = session
        self.may_leave = may_leave
        self.opened = opened

    def send(
        self,
        volume: slicer.vtkMRMLScalarVolumeNode | None,
        image: str,
        channels: Mapping[str, slicer.vtkMRMLScalarVolumeNode | None] | None = None,
    ) -> None:
        """Upload a volume, which whoever calls has asked the user for, and make it the case.

        Args:
            volume: A node of the scene. It stays the user's own, and the case is shown on it.
            image: Id that the scan gets on the server.
            channels: Of a scan of several channels all of them by name, the volume itself first.
        """
        session = self.session
        if session.busy or (session.scene.edited and not self.may_leave()):
            return
        try:
            files = self._written(volume, image, channels or {})
        except (SceneError, OSError) as error:
            session.fail(str(error))
            return

        def clear() -> None:
            for file in files:
                file.unlink(missing_ok=True)

        def done(answer: dict[str, Any]) -> None:
            clear()
            session.cases_changed.emit()
            if volume.GetScene() is None:
                text = _("{case} is on the server, but its volume left the scene meanwhile: open it from the table.")
                raise SceneError(text.format(case=answer["image"]))
            session.case_leaving.emit()
            session.scene.use_scan(answer["image"], volume)
            axis = TIME if flat.is_clip(volume) else ""
            session.enter_case(Sample(answer["image"], reason=_("It came from the scene."), axis=axis))
            self.opened(answer["image"])
            session.say(_("{case} is on the server: run a model on it.").format(case=answer["image"]))

        def failed(error: Exception) -> None:
            clear()
            session.fail(error)

        stage = _("Uploading {volume}").format(volume=volume.GetName())
        arguments = {"file": str(files[0]), "image": image, **lease_arguments(session)}
        if flat.is_flat(volume):
            arguments |= {"axis": TIME if flat.is_clip(volume) else "", "spacing_known": flat.spacing_known(volume)}
        if files[1:]:
            arguments["channels"] = [str(file) for file in files[1:]]
        session.ask("upload_scan", arguments, done, stage=stage, failed=failed)

    def _written(
        self,
        volume: slicer.vtkMRMLScalarVolumeNode | None,
        image: str,
        channels: Mapping[str, slicer.vtkMRMLScalarVolumeNode | None],
    ) -> list[Path]:
        """Write what is sent, and return the files, one a channel. Raises `SceneError` where it cannot be."""
        intake.check_volume(volume)
        if channels:
            intake.check_channels(channels)
        if not _SAFE_ID.fullmatch(image):
            raise SceneError(_("A name on the server has letters, digits, '-', '_' and '.' only, no spaces."))
        sent = [volume, *list(channels.values())[1:]]
        names = [image, *(f"{image}_{number:04d}" for number in range(1, len(sent)))]
        files = [self.session.folder / "uploads" / f"{name}.nii" for name in names]
        files[0].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for node, file in zip(sent, files):
            nodes.write_volume(node, file)
        return files
