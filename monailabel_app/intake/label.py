"""A client's label becomes an array on the grid of its scan."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from monailabel_app.intake.volume import Volume
from uncertaintyseg.data.checks import check_ids, check_whole
from uncertaintyseg.data.label_grid import Grid, grid_turn, turned
from uncertaintyseg.data.writing import MAX_LABEL


def read_label(volume: Volume, known: Collection[int], grid: Grid) -> np.ndarray:
    """Read the voxels of a label.

    Args:
        volume: its voxels are read by this, once its grid is known to be the scan's in some order and direction of the
            axes, so no more of a packed file is expanded than the scan has voxels.
        known: class ids that may occur besides 0.
        grid: of the scan.

    Returns:
        uint8 or uint16 `[X, Y, Z]` on the scan's grid.

    Raises:
        InputError: It is damaged, on another grid, holds something else than whole numbers, or an unknown class id.
    """
    turn = grid_turn(volume.affine, volume.shape, grid)
    values = np.empty(math.prod(volume.shape), np.uint8)
    is_known = np.zeros(MAX_LABEL + 1, bool)
    is_known[[0, *(i for i in known if 0 <= i <= MAX_LABEL)]] = True
    unknown: set[int] = set()
    start = 0
    for chunk in volume.chunks:
        part = _whole_numbers(chunk, volume.scale)
        if not is_known[part].all():
            unknown.update(np.unique(part[~is_known[part]]).tolist())
        if values.dtype == np.uint8 and part.max() > np.iinfo(np.uint8).max:
            values = values.astype(np.uint16)
        values[start : start + part.size] = part
        start += part.size
    check_ids(unknown, known)
    return turned(values.reshape(volume.shape, order="F"), turn)


def _whole_numbers(chunk: np.ndarray, scale: tuple[float, float] | None) -> np.ndarray:
    """As unsigned integers of at most two bytes."""
    if chunk.dtype == np.uint8 and scale is None:
        return chunk
    if scale is not None:
        chunk = chunk * scale[0] + scale[1]
    check_whole(chunk)
    return chunk.astype(np.uint16)
