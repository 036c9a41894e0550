"""Label and report of the case go to the archive that its scan comes from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import segments
from UncertaintySegLib.server.parsing import parse
from UncertaintySegLib.server.replies import ArchiveState

Write = Callable[[Path], bool]
"""Writes the report of the case as PDF; False where that cannot be done here."""


class Archive:
    """Asks whose the case is in the archive, and sends its label and a report there.

    The server has the label already: what is sent is the version that counts there, so it has to be what is shown, and
    a repetition is the same objects.

    Args:
        session: Whose case is sent.
        agrees: Asked once before anything is sent; gets the question.
        write: Writes the report.
    """

    def __init__(self, session: Session, agrees: Callable[[str], bool], write: Write) -> None:
        self.session, self._agrees, self._write = session, agrees, write

    @property
    def address(self) -> str:
        """Of the archive; empty without one."""
        info = self.session.state.info
        return info.archive if info is not None else ""

    @property
    def is_possible(self) -> bool:
        """Whether there is a report to send, and somewhere to send it to."""
        session = self.session
        return bool(self.address) and session.state.result is not None and not session.busy

    def hint(self) -> str:
        """Return where label and report would go, or why nowhere; empty without a server."""
        if self.session.state.info is None:
            return ""
        if not self.address:
            return _("The server's scans are files and come from no archive, so there is none to send a report to.")
        return _("Archive: {address}. Research only, not for clinical use.").format(address=self.address)

    def send(self) -> None:
        """Ask the archive whose the case is, then the person, and send."""
        if not self.is_possible:
            return
        case = self.session.scene.case
        done = partial(self._on_known, case)
        self.session.ask("archive", {"image": case}, done, stage=_("Asking the archive"))

    def _on_known(self, case: str, answer: dict[str, Any]) -> None:
        state, label = parse(ArchiveState, answer["state"]), answer["label"]
        if self.session.scene.case != case:
            return
        if label is None or not self._is_shown(Path(label)):
            raise SceneError(_("The label that is shown is not the one on the server: submit it first."))
        if not self._agrees(_question(state)):
            self.session.say(_("Nothing was sent to the archive."))
            return
        folder = Path(tempfile.mkdtemp(prefix="UncertaintySeg-"))
        try:
            self._send(case, state, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _send(self, case: str, state: ArchiveState, folder: Path) -> None:
        path = folder / "report.pdf"
        if not self._write(path):
            raise SceneError(_("This Slicer cannot write PDF, so there is no report to send."))
        arguments = {"image": case, "version": state.version, "report": str(path)}
        done, failed = partial(self._on_sent, folder), partial(self._on_failed, folder)
        self.session.ask("send_to_archive", arguments, done, stage=_("Sending to the archive"), failed=failed)

    def _is_shown(self, label: Path) -> bool:
        scene = self.session.scene
        return bool(np.array_equal(segments.file_ids(scene.scan, label), scene.label_ids()))

    def _on_sent(self, folder: Path, answer: dict[str, Any]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        state = parse(ArchiveState, answer["state"])
        text = _("Label and report of {patient} are in the archive {archive}. Research only, not for clinical use.")
        self.session.say(text.format(patient=_patient(state), archive=state.archive))

    def _on_failed(self, folder: Path, error: Exception) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.session.fail(error)


def _question(state: ArchiveState) -> str:
    text = _("Send label and report of {patient} to {archive}?\n\nResearch only, not for clinical use.")
    if state.report == "stored":
        text = _(
            "{archive} has the label of {patient} and a report on it already: they stay as they are. Send them again?"
            "\n\nResearch only, not for clinical use."
        )
    return text.format(patient=_patient(state), archive=state.archive)


def _patient(state: ArchiveState) -> str:
    """Return name and id as people read them."""
    name = ", ".join(part for part in state.patient_name.split("=")[0].split("^") if part) or _(
        "a patient without a name"
    )
    return _("{name} ({id})").format(name=name, id=state.patient_id or _("no patient id"))
