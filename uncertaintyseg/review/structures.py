"""The structure table: one row a structure, with its volume, risk and expected quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.metrics.frames import neighbours
from uncertaintyseg.review.agreement import POSSIBLE, Agreement, agreement, counts, size_of
from uncertaintyseg.review.boxes import slabs
from uncertaintyseg.wire import Label, Structure

LOW_DICE = 0.8
"""A structure whose expected Dice is below this is flagged."""
WIDE_INTERVAL = 1.0
"""So is one whose volume interval is wider than its volume."""


class Drawn(NamedTuple):
    """What whole segmentations drawn from a model say, or why none were drawn.

    Attributes:
        method: how the intervals were made, or why there are none.
        limits: 95 % interval of each structure's volume in mL by class id; None: none, or too few were drawn.
        dice: mean Dice of the label with the draws by class id, None for a structure that neither has; None: no draws.
        coverage: chance that an interval holds the volume of one more draw; without intervals what could be reached.
        count: how many were drawn.
    """

    method: str
    limits: Mapping[int, tuple[float, float]] | None = None
    dice: Mapping[int, float | None] | None = None
    coverage: float | None = None
    count: int = 0

    def dice_of(self, class_id: int, by_voxels: float | None) -> tuple[float | None, str]:
        """Expected Dice of a structure, and what it is from: draws where there are some."""
        if self.dice is None:
            return by_voxels, "voxel probabilities"
        return self.dice[class_id], f"mean over {self.count} drawn shapes"


def structure_table(
    label: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    error_probability: np.ndarray,
    labels: Sequence[Label],
    voxel_ml: float,
    drawn: Drawn,
    *,
    valid: np.ndarray | None = None,
    clip: bool = False,
) -> list[Structure]:
    """Rows for every structure of a model, also those that were not found.

    The label is walked once, and the map of each structure where it is not 0.

    Args:
        label: class ids `[*S]`.
        probabilities: E[p] of each structure by name, `[*S]`; arrays or maps of boxes.
        error_probability: `[*S]`.
        labels: the structures.
        voxel_ml: volume of a voxel.
        drawn: whole segmentations. The expected Dice is the mean over them; without, it is the ratio of expectations
            under voxel probabilities, as of voxels that err independently.
        valid: where the model saw the scan, `[*S]`; None is everywhere.
        clip: the third axis is time: its ends are no edge of the scan.

    Raises:
        InputError: for arrays of different shapes.
    """
    given = label, probabilities, error_probability, labels, voxel_ml, drawn
    return [row for row, _ in rows_with_agreement(*given, valid=valid, clip=clip)]


def rows_with_agreement(
    label: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    error_probability: np.ndarray,
    labels: Sequence[Label],
    voxel_ml: float,
    drawn: Drawn,
    *,
    valid: np.ndarray | None = None,
    right: np.ndarray | None = None,
    clip: bool = False,
) -> Iterator[tuple[Structure, Agreement]]:
    """Each row of `structure_table`, and what it was made from.

    Args: as there, and
        right: bool `[*S]`, where a person found the label right (`agreement`).
    """
    beside = {"the error probability": error_probability, "'valid'": valid, "what was found right": right}
    beside |= {f"the probability of {item.name}": probabilities[item.name] for item in labels}
    for what, values in beside.items():
        if values is not None:
            check_shapes(what, values.shape, label.shape)
    found = counts(label, error_probability, right, size_of([item.id for item in labels]))
    cut_off = _at_face(label, clip) | _outside(label, valid, clip)
    for item in labels:
        said = agreement(label, item.id, probabilities[item.name], found, right)
        interval = None if drawn.limits is None else tuple(round(limit, 4) for limit in drawn.limits[item.id])
        volume_ml = said.labelled * voxel_ml
        dice, dice_method = drawn.dice_of(item.id, said.dice)
        reasons = _reasons(volume_ml, dice, interval, cut_off=item.id in cut_off)
        risk = round(float(found.risk[item.id]) / said.labelled, 4) if said.labelled else None
        row = Structure(
            name=item.name,
            id=item.id,
            volume_ml=round(volume_ml, 4),
            volume_ml_95=interval,
            interval_method=drawn.method,
            interval_coverage=None if drawn.coverage is None else round(drawn.coverage, 4),
            mean_risk=risk,
            expected_dice=None if dice is None else round(dice, 4),
            dice_method=dice_method,
            expected_error_ml=round(said.error * voxel_ml, 4),
            expected_anomaly=None if said.anomaly is None else round(said.anomaly, 4),
            flag="; ".join(reasons) or None,
        )
        yield row, said


def remaining_error(error_probability: np.ndarray) -> float:
    """Expected number of wrong voxels, of those that may be (`POSSIBLE`), from 1 - p[label] `[*S]`."""
    planes = (error_probability[slab] for slab in slabs(error_probability.shape))
    return float(sum(part.sum(dtype=np.float64, where=part >= POSSIBLE) for part in planes))


def _reasons(
    volume_ml: float, dice: float | None, interval: tuple[float, float] | None, *, cut_off: bool
) -> Iterator[str]:
    if not volume_ml:
        yield "not found"
        return
    if dice is not None and dice < LOW_DICE:
        yield f"expected Dice below {LOW_DICE}"
    if interval is not None and interval[1] - interval[0] > WIDE_INTERVAL * volume_ml:
        yield "volume uncertain by more than itself"
    if cut_off:
        yield "reaches the edge of the scan"


def _at_face(label: np.ndarray, clip: bool) -> set[int]:
    """Class ids at the faces of the scan."""
    axes = range(2 if clip else label.ndim)
    faces = (label.take([0, -1], axis) for axis in axes if label.shape[axis] > 1)
    return {int(class_id) for face in faces for class_id in np.unique(face)}


def _outside(label: np.ndarray, valid: np.ndarray | None, clip: bool) -> set[int]:
    """Class ids that leave the part of the scan that the model saw, or touch its edge."""
    found: set[int] = set()
    for slab in () if valid is None else slabs(label.shape):
        first, last = slab[0].start, slab[0].stop
        before = min(first, 1)  # the planes on either side say what the erosion does to the first and the last
        seen = np.asarray(valid[(slice(first - before, last + 1), *slab[1:])]) > 0
        beyond = last + 1 - first + before - len(seen)
        edges = [(1 - before, beyond), *[(0, 0)] * (label.ndim - 1)]
        seen = np.pad(seen, edges, constant_values=True)
        inner = binary_erosion(seen, neighbours(clip=clip), border_value=1)[1:-1]
        found |= {int(class_id) for class_id in np.unique(label[slab][~inner])}
    return found
