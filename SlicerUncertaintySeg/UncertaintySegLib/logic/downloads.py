"""Files that came from the server: how much there is of them, and away with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def size(folder: Path) -> int:
    """Return how many bytes lie in a folder; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def remove(folder: Path, kept: Iterable[str] = ()) -> int:
    """Remove downloads.

    Args:
        folder: Where they are.
        kept: Names of files and folders in it, at any depth, that stay.

    Returns:
        How many bytes are gone. What another program has open stays as well.
    """
    before, kept = size(folder), set(kept)
    for entry in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if kept.isdisjoint(entry.relative_to(folder).parts):
            with contextlib.suppress(OSError):
                entry.rmdir() if entry.is_dir() else entry.unlink()
    return before - size(folder)
