"""What changed between two labels, small enough to keep all changes of a day."""

from __future__ import annotations

import numpy as np


class Change:
    """The voxels in which two labels of one shape differ, and what they are in both.

    Args:
        before, after: Label ids of the same shape and type.

    Attributes:
        voxels: How many differ.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray) -> None:
        self._where = np.flatnonzero(before.ravel() != after.ravel())
        self._before, self._after = before.ravel()[self._where], after.ravel()[self._where]
        self._shape = before.shape

    @property
    def voxels(self) -> int:
        return self._where.size

    def undone(self, ids: np.ndarray) -> np.ndarray:
        """Return a label with these voxels as they were before."""
        return self._with(ids, self._before)

    def redone(self, ids: np.ndarray) -> np.ndarray:
        """Return a label with these voxels as they were after."""
        return self._with(ids, self._after)

    def box(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return first and last voxel, K J I, of the box around all of them."""
        places = np.unravel_index(self._where, self._shape)
        return tuple(int(axis.min()) for axis in places), tuple(int(axis.max()) for axis in places)

    def _with(self, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        changed = ids.copy()
        changed.ravel()[self._where] = values
        return changed
