"""Content of files as a checksum, read again only when a file has changed."""

from __future__ import annotations

import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

_SETTLED_NS = 2 * 10**9
"""A file changed more recently is read again: a second change might leave the same time stamp."""


def content_hash(*files: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, or of several, by their order and the SHA-256 of each (hex).

    Raises:
        OSError: when one cannot be read.
    """
    if len(files) != 1:
        return hashlib.sha256("".join(map(content_hash, files)).encode()).hexdigest()
    path = Path(files[0])
    stat = path.stat()
    stamp = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS
    return _hashed(*stamp) if settled else _hashed.__wrapped__(*stamp)


def voxel_hash(voxels: np.ndarray) -> str:
    """Of a scan's voxels and their grid's shape, whatever file they lie in (hex)."""
    digest = hashlib.blake2b(str(voxels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(voxels))
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _hashed(name: str, *_stamp: int) -> str:
    digest = hashlib.sha256()
    with Path(name).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
