"""Several people's labels of one scan: where they differ, as a map and as places to look at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.review.boxes import slabs
from uncertaintyseg.review.regions import regions
from uncertaintyseg.wire import Label, MapInfo, Region

DISAGREEMENT = "reader_disagreement"
"""Name of the map."""
INFO = MapInfo(
    unit="1",
    range=(0.0, 0.5),
    source="readers",
    description="Half the sum over classes of the readers' variance (ddof 1), the scale of the map variance: half the "
    "chance that two of them, drawn at random, label the voxel differently.",
)
MOST = 256
"""Readers of one scan."""


class Disagreement(NamedTuple):
    """Where readers differ.

    Attributes:
        steps: pairs of readers that label a voxel differently, uint16 `[X, Y, Z]`.
        slope: value of the map in a step: `metrics.ambiguity.rater_variance` is slope x steps.
        differing_ml: volume on which they do not all agree.
        regions: where to look, worst first; `expected_error_ml` is what two of them would label differently on
            average, and the kind is as seen from the label that most of them chose.
    """

    steps: np.ndarray
    slope: float
    differing_ml: float
    regions: list[Region]


def disagreement(
    readers: Sequence[np.ndarray],
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    clip: bool = False,
    voxel_ml: float | None = None,
    place_ml: float | None = None,
) -> Disagreement:
    """Compare the labels of two readers or more, which may lie on disk: memory does not grow with their number.

    Args:
        readers: class ids `[X, Y, Z]` of each; arrays or memory maps.
        labels: all structures that occur.
        affine: 4x4, voxel to RAS+ mm.
        clip: the third axis is time: regions lie in a frame each.
        voxel_ml: how large a voxel counts, where that is not its volume in mL.
        place_ml: in a region, where that is another; of a clip its area in the frame.

    Raises:
        InputError: fewer than two readers or more than `MOST`, or labels of different shapes.
    """
    if not 2 <= len(readers) <= MOST:
        raise InputError(f"readers are compared where there are 2 to {MOST} of them, not {len(readers)}")
    shape = readers[0].shape
    for other in readers[1:]:
        check_shapes("a reader's label", other.shape, shape)
    dtype = np.result_type(*(reader.dtype for reader in readers))
    steps, chosen, instead = np.zeros(shape, np.uint16), np.zeros(shape, dtype), np.zeros(shape, dtype)
    for slab in slabs(shape, len(readers)):
        stack = np.stack([reader[slab] for reader in readers])
        for first, second in combinations(stack, 2):
            steps[slab] += first != second
        chosen[slab] = stack[0]
        differ = steps[slab] > 0
        if differ.any():
            chosen[slab][differ], instead[slab][differ] = _most_frequent(stack[:, differ])
    pairs = len(readers) * (len(readers) - 1) // 2
    chance = (steps / np.float32(pairs)).astype(np.float16)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000 if voxel_ml is None else voxel_ml
    places = regions(
        chosen,
        chance,
        {},
        labels,
        affine,
        alternative=instead,
        clip=clip,
        voxel_ml=voxel_ml if place_ml is None else place_ml,
    )
    return Disagreement(steps, 0.5 / pairs, int(np.count_nonzero(steps)) * voxel_ml, places)


def _most_frequent(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent class id of each voxel, and the most frequent structure; votes are `[R, N]`.

    Of equally frequent ones the lowest, so that a tie with the background is background.
    """
    best = {background: np.zeros(votes.shape[1], np.uint16) for background in (True, False)}
    found = {background: np.zeros(votes.shape[1], votes.dtype) for background in (True, False)}
    for value in np.unique(votes):
        count = np.count_nonzero(votes == value, axis=0)
        for background in (True, False) if value else (True,):
            better = count > best[background]
            found[background][better], best[background][better] = value, count[better]
    return found[True], found[False]
