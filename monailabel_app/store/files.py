"""Files of the studies folder: whole or not there, never above a folder that is away."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import BinaryIO

from uncertaintyseg.data.images import frames_in
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.data.scan_files import is_dicom, scan_files
from uncertaintyseg.data.writing import sync_folder
from uncertaintyseg.errors import InputError

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""Names of files that are being written."""


def sync_file(file: BinaryIO) -> None:
    """Have the disk keep what was written."""
    file.flush()
    os.fsync(file.fileno())


def stage(source: Path, folder: Path) -> Path:
    """Copy a file into a folder under a name that counts for nothing yet; `settle` gives it its own.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    staged = folder / f".{source.name[:100]}.{uuid.uuid4().hex}.tmp"
    try:
        with source.open("rb") as original, staged.open("xb") as copy:
            shutil.copyfileobj(original, copy, 2**20)
            sync_file(copy)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return staged


def settle(staged: Path, path: Path) -> None:
    """Give a staged file its name, for good."""
    os.replace(staged, path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link but never what it points to, or what a folder is served for, slices or frames, alone."""
    if path.is_dir() and not path.is_symlink():
        for file in frames_in(path) or [file for file in path.iterdir() if is_dicom(file)]:
            file.unlink()
        with contextlib.suppress(OSError):  # other scans may lie in it
            path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def files_of_scan(path: Path) -> list[Path]:
    """A scan's file or folder, and the file of its voxels where that bears its name and is no scan itself."""
    try:
        beside = [] if path.is_dir() else scan_files(path)[1:]
    except InputError:  # whatever it is, it is removed
        beside = []
    own = (file for file in beside if file.name.startswith(f"{path.stem}."))
    return [path, *(file for file in own if not file.name.lower().endswith(IMAGE_SUFFIXES))]


def stamp() -> str:
    """Of this moment, for names of files that are set aside."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}"


def remove_unfinished(studies: Path) -> list[str]:
    """Remove the files of writes that a crash cut short; return their names. None of them was acknowledged."""
    tags = [folder for folder in (studies / "labels").glob("*") if folder.is_dir()]
    folders = [folder for folder in (studies, studies / "versions", *tags) if folder.is_dir()]
    found = [path for folder in folders for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return [str(path.relative_to(studies)) for path in found]
