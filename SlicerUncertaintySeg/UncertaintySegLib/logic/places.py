"""Where regions are, so that the same place is known again in another result."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First and last voxel, IJK of the scan's file."""

_SAME = 0.5  # share of the smaller box above which two regions of a structure are one


class Place(NamedTuple):
    """Where a region is or was: its structure and its box."""

    structure: str
    bounding_box: Box


def same_place(first, second) -> bool:
    """Return whether two regions or places, of two results maybe, are one place of one structure."""
    if first.structure != second.structure:
        return False
    smaller = min(_voxels(first.bounding_box), _voxels(second.bounding_box))
    return overlap(first.bounding_box, second.bounding_box) >= _SAME * smaller


def overlap(first: Box, second: Box) -> int:
    """Return how many voxels two boxes share."""
    low = np.maximum(first[0], second[0])
    high = np.minimum(first[1], second[1])
    return int(np.prod(np.maximum(high - low + 1, 0)))


def _voxels(box: Box) -> int:
    return int(np.prod(np.array(box[1]) - box[0] + 1))
