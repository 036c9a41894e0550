"""Two labels of one scan against each other: each structure, and the places where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.metrics.overlap import class_voxels, confusion_matrix
from uncertaintyseg.review.regions import regions
from uncertaintyseg.wire import Label, Region, StructureChange


class Difference(NamedTuple):
    """How two labels differ.

    Attributes:
        voxels: that have another class.
        structures: each that occurs in either.
        regions: where to look, the largest first. The kind is that of the first label: "missed" is what it lacks of
            the second one's, "extra" what only it has; `expected_error_ml` is the volume that differs.
    """

    voxels: int
    structures: list[StructureChange]
    regions: list[Region]


def difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    clip: bool = False,
    voxel_ml: float | None = None,
    place_ml: float | None = None,
) -> Difference:
    """Compare two labels.

    Args:
        first: class ids `[X, Y, Z]`.
        second: the same, of another one.
        labels: the structures that are known; others are called after their number.
        affine: 4x4, voxel to RAS+ mm.
        clip: the third axis is time: regions lie in a frame each.
        voxel_ml: how large a voxel counts, where that is not its volume in mL.
        place_ml: in a region, where that is another; of a clip its area in the frame.

    Raises:
        InputError: for labels of different shapes.
    """
    check_shapes("the second label", second.shape, first.shape)
    ids = np.union1d(*(np.flatnonzero(class_voxels(label)) for label in (first, second)))
    known = {label.id: label for label in labels}
    named = [known.get(i) or Label(id=i, name=f"class {i}", rgb=(128, 128, 128)) for i in ids.tolist() if i]
    rows = np.zeros(int(ids.max(initial=0)) + 1, np.uint16)  # of the matrix, by class id
    rows[ids] = np.arange(len(ids))
    both = confusion_matrix(rows[second], rows[first], max(len(ids), 1))
    sizes = dict(zip(ids.tolist(), zip(both.sum(1).tolist(), both.sum(0).tolist(), strict=True), strict=True))
    shared = dict(zip(ids.tolist(), np.diag(both).tolist(), strict=True))
    ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000 if voxel_ml is None else voxel_ml
    changes = [
        StructureChange(
            id=label.id,
            name=label.name,
            dice=2 * shared[label.id] / sum(sizes[label.id]),
            voxels=sizes[label.id],
            ml=tuple(ml * size for size in sizes[label.id]),
        )
        for label in named
    ]
    area = voxel_ml if place_ml is None else place_ml
    places = (
        regions(first, first != second, {}, named, affine, alternative=second, clip=clip, voxel_ml=area)
        if named
        else []
    )
    return Difference(int(both.sum() - np.trace(both)), changes, places)
