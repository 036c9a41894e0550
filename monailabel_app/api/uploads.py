"""Files that come with a request, kept for as long as it lasts under the client's own file name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from fastapi import UploadFile

from monailabel_app.app.names import checked_name


@contextmanager
def received(upload: UploadFile) -> Iterator[Path]:
    """Write an upload to a folder of its own. Raises `InputError` when its name cannot be a file name."""
    name = PurePosixPath(PureWindowsPath(upload.filename or "upload.nii.gz").as_posix()).name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / checked_name("a file name", name)
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        yield path
