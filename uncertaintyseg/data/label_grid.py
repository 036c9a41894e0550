"""A label and its scan: whether they share their voxels, in whatever order and direction of the axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from uncertaintyseg.data.geometry import LatticeMap, lattice_map
from uncertaintyseg.data.grids import grid_difference
from uncertaintyseg.errors import GridError

_TOLERANCE = 0.05  # voxels; programs that save only the qform lose this much to its float32 quaternion


class Grid(NamedTuple):
    """Of a scan: `[X, Y, Z]`, 4x4 voxel to RAS+ mm, and the scan's name for messages."""

    shape: tuple[int, ...]
    affine: np.ndarray
    scan: str


def grid_turn(affine: ArrayLike, shape: tuple[int, ...], grid: Grid) -> LatticeMap:
    """How the axes of a label run along those of its scan. Raises `GridError` where they are on different grids."""
    turn = lattice_map(affine, grid.affine, grid.shape, tolerance=_TOLERANCE)
    if turn is not None:
        sizes = tuple(shape[axis] for axis in turn.axes)
        corner = tuple(0 if sign > 0 else n - 1 for sign, n in zip(turn.sign, sizes, strict=True))
        if sizes == grid.shape and turn.shift == corner:
            return turn
    differs = grid_difference(affine, shape, grid.affine, grid.shape, other="the scan")
    raise GridError(f"its grid is not that of the scan {grid.scan}: {differs}. Resample the label onto the scan.")


def turned(values: np.ndarray, turn: LatticeMap) -> np.ndarray:
    """Turn `[X, Y, Z]` to the axes that `grid_turn` found."""
    backwards = [axis for axis, sign in enumerate(turn.sign) if sign < 0]
    return np.flip(values.transpose(turn.axes), backwards)
