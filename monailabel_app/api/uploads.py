"""Files that come with a request, kept for as long as it lasts under the client's own file name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from fastapi import UploadFile

from monailabel_app.app.names import checked_name
from uncertaintyseg.errors import UncertaintySegError


def upload_name(upload: UploadFile) -> str:
    """Return the file name that a client gave. Raises `InputError` when it cannot be one."""
    name = PurePosixPath(PureWindowsPath(upload.filename or "upload.nii.gz").as_posix()).name
    return checked_name("a file name", name)


@contextmanager
def received(upload: UploadFile) -> Iterator[Path]:
    """Write an upload to a folder of its own; errors raised meanwhile name the file as the client knows it.

    Raises:
        InputError: The upload's name cannot be a file name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / upload_name(upload)
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        try:
            yield path
        except UncertaintySegError as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error
