"""How many pieces of a map lie above each of several thresholds, a slab at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from uncertaintyseg.metrics.frames import frames
from uncertaintyseg.review.boxes import box_of, slabs


class Above(NamedTuple):
    """What lies above a threshold."""

    voxels: int
    pieces: int
    """Connected by faces."""


def pieces_above(values: np.ndarray, thresholds: Sequence[float], *, clip: bool = False) -> list[Above]:
    """Voxels and pieces of a map `[*S]` above each threshold; of a clip the pieces of each frame."""
    if clip:
        found = [pieces_above(frame, thresholds) for (frame,) in frames(values)]
        return [Above(*np.sum(each, axis=0).tolist()) for each in zip(*found, strict=True)]
    counters = [_Counter(values.shape[1:]) for _ in thresholds]
    for box in slabs(values.shape):
        part = values[box]
        for counter, threshold in zip(counters, thresholds, strict=True):
            counter.add(part > threshold)
    return [Above(counter.voxels, counter.pieces) for counter in counters]


class _Counter:
    """Pieces of a mask that comes in slabs: those of each slab, less what joins across to the one before."""

    def __init__(self, plane: Sequence[int]) -> None:
        self.voxels = self.pieces = 0
        self._last = np.zeros(plane, np.int32)  # numbers, from 1, of the pieces that reach the last plane

    def add(self, mask: np.ndarray) -> None:
        """Add the next planes, bool `[n, *plane]`."""
        first, last = np.zeros((2, *mask.shape[1:]), np.int32)
        box = box_of(mask)
        numbers, count = ndimage.label(mask[box])
        if count and box[0].start == 0:
            first[box[1:]] = numbers[0]
        if count and box[0].stop == len(mask):
            last[box[1:]] = numbers[-1]
        self.voxels += int(np.count_nonzero(mask))
        self.pieces += count - self._joined(first, last, count)

    def _joined(self, first: np.ndarray, last: np.ndarray, count: int) -> int:
        """By how many pieces fewer there are, as some of the new ones touch some of those before."""
        touching = (first > 0) & (self._last > 0)
        if not touching.any():
            self._last = last
            return 0
        before = int(self._last.max(initial=0))
        pairs = self._last[touching] - 1, before + first[touching] - 1
        size = before + count
        graph = coo_array((np.ones(len(pairs[0]), bool), pairs), (size, size))
        left, component = connected_components(graph, directed=False)
        self._last = last
        last[last > 0] = component[before + last[last > 0] - 1] + 1
        return size - left
