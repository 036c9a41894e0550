"""Where the arrays of a prediction lie: in memory, or in files that take none where the scan is large."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import DTypeLike

IN_MEMORY_BYTES = 2**28
"""Maps of a scan that take more are kept in files."""


class Scratch:
    """A place for arrays.

    Args:
        folder: for the files; None makes a temporary one, which goes with the last reference to this object.
        on_disk: whether arrays are files at all.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, on_disk: bool = True) -> None:
        self.on_disk = on_disk
        self._temporary = None
        if on_disk and folder is None:
            self._temporary = TemporaryDirectory(prefix="uncertaintyseg-", ignore_cleanup_errors=True)
            folder = self._temporary.name
        self.folder = Path(folder or ".")
        if on_disk:
            self.folder.mkdir(parents=True, exist_ok=True)

    def zeros(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
        """An array of zeros; on disk it is a file with holes, as large as what is written."""
        if not self.on_disk or 0 in shape:
            return np.zeros(shape, dtype)
        return np.memmap(self.folder / f"{name}.raw", dtype, "w+", shape=tuple(shape))

    def pile(self, name: str) -> Pile:
        """Somewhere to put arrays one after another."""
        return Pile(self.folder / f"{name}.raw" if self.on_disk else None)


class Pile:
    """Float32 arrays of any shape, in memory or one after another in a file.

    Args:
        path: of the file; None for memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._arrays: list[np.ndarray] = []
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._size = 0

    def put(self, array: np.ndarray) -> None:
        """Keep an array."""
        array = np.ascontiguousarray(array, np.float32)
        if self._path is None:
            self._arrays.append(array)
            return
        with self._path.open("ab" if self._places else "wb") as file:
            file.write(array)
        self._places.append((self._size, array.shape))
        self._size += array.size

    def arrays(self) -> list[np.ndarray]:
        """All of them in their order; those in a file are memory-mapped."""
        if self._path is None or not self._places:
            return self._arrays
        whole = np.memmap(self._path, np.float32, "r")
        return [whole[at : at + int(np.prod(shape))].reshape(shape) for at, shape in self._places]
