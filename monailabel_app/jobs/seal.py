"""Whether files are still what was written: a disk may lose them, cut them short or fill them with zeros."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

Seal = dict[str, tuple[int, int]]
"""Size and CRC-32 of each file of a folder, by its path in there."""

_PIECE = 1 << 20
_REMEMBERED = 10_000
_known: OrderedDict[Path, list[tuple[int, int, int]]] = OrderedDict()
_lock = threading.Lock()


def sealed(folder: Path) -> Seal:
    """Size and checksum of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, _checksum(path)) for path in files}


def seal_of(data: bytes) -> tuple[int, int]:
    """Size and checksum of bytes."""
    return len(data), zlib.crc32(data)


def is_whole(folder: Path, seal: Mapping[str, tuple[int, int]]) -> bool:
    """Whether all files that a seal names are there as they were.

    Their bytes are read once in the life of this process, and again where one of them has been touched since.
    """
    try:
        found = [(folder / name).stat() for name in seal]
        if [file.st_size for file in found] != [size for size, _ in seal.values()]:
            return False
        state = [(file.st_size, file.st_mtime_ns, file.st_ino) for file in found]
        with _lock:
            if _known.get(folder) == state:
                return True
        if any(_checksum(folder / name) != checksum for name, (_, checksum) in seal.items()):
            return False
    except OSError:  # missing, or the disk cannot read it
        return False
    with _lock:
        _known[folder] = state
        _known.move_to_end(folder)
        if len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return True


def with_digest(data: bytes) -> bytes:
    """Bytes that tell by themselves whether they are whole."""
    return hashlib.sha256(data).digest() + data


def without_digest(data: bytes) -> bytes | None:
    """What `with_digest` was given; None where it is not whole."""
    digest, data = data[:32], data[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value
