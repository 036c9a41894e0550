"""The files of all versions of all labels, named by what is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from monailabel_app.errors import NotFoundError
from uncertaintyseg.data.writing import write_bytes

FOLDER = "versions"


class VersionFiles:
    """One file a content: the same label saved twice is kept once.

    Args:
        folder: Where they lie; made by the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, data: bytes, suffix: str) -> tuple[str, str, int]:
        """Write a file, unless it is there whole; it is on the disk when this returns.

        Returns:
            SHA-256, suffix and size.

        Raises:
            InputError: It cannot be written; nothing is left of it.
            StorageError: The disk is full; likewise.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256, suffix)
        if not (path.is_file() and path.read_bytes() == data):
            write_bytes(path, data)
        return sha256, suffix, len(data)

    def read(self, sha256: str, suffix: str) -> bytes:
        """Return a file. Raises `NotFoundError` when it is gone or is not what it was."""
        try:
            data = self.path(sha256, suffix).read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotFoundError("the file of this version is gone or damaged; look for it in a backup")
        return data

    def path(self, sha256: str, suffix: str) -> Path:
        """Where a file lies, if it is here."""
        return self.folder / f"{sha256}{suffix}"
