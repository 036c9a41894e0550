"""DICOM objects on their way to the server: on disk before they are promised, sent until they have arrived."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import pydicom
from pydicom import Dataset

from monailabel_app.dicom.series import is_uid
from monailabel_app.dicom.server import DicomWebServer, patient_of
from monailabel_app.errors import NotFoundError
from uncertaintyseg.data.writing import write_bytes

_SUFFIX = ".dcm"


class Outbox:
    """One file an object, named by its SOPInstanceUID, so that sending twice stores once.

    Args:
        folder: Where they lie.
        server: Where they go.
    """

    def __init__(self, folder: Path, server: DicomWebServer) -> None:
        self._folder = folder
        self._server = server
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, instance: Dataset) -> None:
        """Keep an object for sending; it survives a crash. Raises `InputError` when the disk is full."""
        write_bytes(self._path(str(instance.SOPInstanceUID)), encode(instance))

    def send(self, uid: str) -> None:
        """Store an object on the server and forget it here.

        Raises:
            DicomWebError: The server did not take it; it stays.
            NotFoundError: It is not here.
        """
        self._server.store(self._read(uid))
        self._path(uid).unlink(missing_ok=True)

    def patient(self, uid: str) -> tuple[str, str]:
        """Return name and id of the patient that an object is of. Raises `NotFoundError` when it is not here."""
        return patient_of(pydicom.dcmread(io.BytesIO(self._read(uid))))

    def keep_only(self, wanted: Collection[str]) -> None:
        """Drop objects that nothing speaks of: a crash came before they were promised, or a newer label did."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.name.removesuffix(_SUFFIX) not in wanted:
                path.unlink(missing_ok=True)

    def _read(self, uid: str) -> bytes:
        try:
            return self._path(uid).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"object {uid} is not in the outbox: save the label again") from error

    def _path(self, uid: str) -> Path:
        if not is_uid(uid):
            raise NotFoundError(f"{uid!r} is no SOPInstanceUID")
        return self._folder / f"{uid}{_SUFFIX}"


def encode(instance: Dataset) -> bytes:
    """An object as the bytes of a DICOM file."""
    buffer = io.BytesIO()
    instance.save_as(buffer, write_like_original=False)
    return buffer.getvalue()
