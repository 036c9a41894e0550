"""Content of files as a checksum, read again only when a file has changed."""

from __future__ import annotations

import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path

_SETTLED_NS = 2 * 10**9
"""A file changed more recently is read again: a second change might leave the same time stamp."""


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, or of the files of a folder in name order, one after another (hex).

    Raises:
        OSError: when it cannot be read.
    """
    path = Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    stamps = tuple(
        (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for file, stat in zip(files, stats, strict=True)
    )
    changed = max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats), default=0)
    settled = time.time_ns() - changed > _SETTLED_NS
    return _hashed(stamps) if settled else _hashed.__wrapped__(stamps)


@lru_cache(maxsize=4096)
def _hashed(stamps: tuple[tuple[str, int, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, *_ in stamps:
        with Path(name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
