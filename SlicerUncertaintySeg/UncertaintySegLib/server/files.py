"""Downloads on this computer's disk: unzipped for Slicer, and not ever more of them."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from UncertaintySegLib.errors import ServerError

LIMIT = 5 * 10**9
"""Bytes that all downloads together may take."""

_IN_USE_SECONDS = 600.0
_CHUNK = 1 << 20


def unzip(path: Path) -> Path:
    """Unzip a `.gz` file beside itself, unless that was done before; return the file without `.gz`.

    Raises:
        ServerError: The file is damaged, or the disk is full.
    """
    if path.suffix != ".gz":
        return path
    target = path.with_suffix("")
    if target.is_file() and target.stat().st_mtime >= path.stat().st_mtime:
        os.utime(target.parent)
        return target
    handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=path.parent)
    try:
        with gzip.open(path) as zipped, os.fdopen(handle, "wb") as plain:
            shutil.copyfileobj(zipped, plain, _CHUNK)
        os.replace(partial, target)
    except BaseException as error:
        Path(partial).unlink(missing_ok=True)
        if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
            raise ServerError(f"{path.name} arrived damaged: try again.") from error
        if isinstance(error, OSError):
            raise disk_error(error, path.parent) from error
        raise
    return target


def require_one_volume(path: Path) -> None:
    """Look into the header of a NIfTI file; a file of another kind passes.

    Raises:
        ServerError: It holds several volumes, or several values in each voxel.
    """
    with path.open("rb") as file:
        header = file.read(96)
    for order in "<>":
        for size, start, code in ((348, 40, "8h"), (540, 16, "8q")):  # NIfTI-1 and NIfTI-2
            if len(header) == 96 and struct.unpack_from(f"{order}i", header)[0] == size:
                count, *sizes = struct.unpack_from(f"{order}{code}", header, start)
                if any(number > 1 for number in sizes[3 : max(count, 0)]):
                    raise ServerError(
                        f"{path.name} holds several volumes or values in each voxel, and a model reads one:"
                        " put a scan with one in its place on the server."
                    )


def disk_error(error: OSError, folder: Path) -> ServerError:
    """Say in one sentence why a file could not be written."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return ServerError(f"The disk of this computer is full: make room in {folder}, then try again.")
    return ServerError(f"{folder} cannot be written ({error.strerror or error}).")


def trim(folders: Sequence[Path], limit: int = LIMIT) -> None:
    """Remove what was used longest ago until the rest is within the limit; nothing of the last minutes goes.

    Args:
        folders: Where downloads are; each entry of them goes as a whole.
        limit: Bytes.
    """
    entries = [entry for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    sizes = {entry: _size(entry) for entry in entries}
    total = sum(sizes.values())
    for entry in sorted(entries, key=_age, reverse=True):
        if total <= limit or _age(entry) < _IN_USE_SECONDS:
            return
        total -= sizes[entry]
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(_stat(file, "st_size") for file in files)


def _age(entry: Path) -> float:
    return time.time() - _stat(entry, "st_mtime")


def _stat(path: Path, field: str) -> float:
    try:
        return getattr(path.stat(), field)
    except OSError:  # another request has just removed it
        return 0
