"""The structure table: one row a structure, with its volume, risk and expected quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.ndimage import binary_erosion

from uncertaintyseg.review.anomaly import expected_mismatch
from uncertaintyseg.review.boxes import box_of
from uncertaintyseg.wire import Label, Structure

LOW_DICE = 0.8
"""A structure whose expected Dice is below this is flagged."""
WIDE_INTERVAL = 1.0
"""So is one whose volume interval is wider than its volume."""
POSSIBLE = 0.05
"""Chance of being wrong from which a voxel counts as expected error: what is below adds up over a whole scan."""


def structure_table(
    label: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    error_probability: np.ndarray,
    labels: Sequence[Label],
    voxel_ml: float,
    intervals: Mapping[int, tuple[float, float]] | None,
    interval_method: str,
    *,
    valid: np.ndarray | None = None,
) -> list[Structure]:
    """Rows for every structure of a model, also those that were not found.

    Args:
        label: class ids `[*S]`.
        probabilities: E[p] of each structure by name, `[*S]`.
        error_probability: `[*S]`.
        labels: the structures.
        voxel_ml: volume of a voxel.
        intervals: 95 % interval of each structure's volume in mL by id, or None.
        interval_method: how they were made, or why there are none.
        valid: where the model saw the scan, `[*S]`; None is everywhere.
    """
    inner = None if valid is None else binary_erosion(valid > 0, border_value=1)
    rows = []
    for item in labels:
        inside, probability = label == item.id, probabilities[item.name]
        box = possible_box(inside, probability)
        voxels = int(inside.sum())
        dice = expected_dice(probability, inside)
        interval = None if intervals is None else tuple(round(limit, 4) for limit in intervals[item.id])
        volume_ml = voxels * voxel_ml
        reasons = _reasons(volume_ml, dice, interval, cut_off=_at_face(inside) or _outside(inside, inner))
        rows.append(
            Structure(
                name=item.name,
                id=item.id,
                volume_ml=round(volume_ml, 4),
                volume_ml_95=interval,
                interval_method=interval_method,
                mean_risk=round(_mean(error_probability[box], inside[box]), 4) if voxels else None,
                expected_dice=None if dice is None else round(dice, 4),
                expected_error_ml=round(expected_error(inside[box], probability[box]) * voxel_ml, 4),
                flag="; ".join(reasons) or None,
            )
        )
    return rows


def possible_box(inside: np.ndarray, probability: np.ndarray) -> tuple[slice, ...]:
    """The box outside of which no voxel is in a structure `[*S]`, or may be (`POSSIBLE`)."""
    return box_of(inside | (probability >= POSSIBLE))


def expected_error(inside: np.ndarray, probability: np.ndarray) -> float:
    """Expected number of voxels on the wrong side of a structure, of those that may be (`POSSIBLE`).

    Args:
        inside: mask of the structure as labelled, `[*S]`.
        probability: of the structure, `[*S]`.
    """
    wrong = expected_mismatch(inside, probability)
    return float(wrong.sum(dtype=np.float64, where=wrong >= POSSIBLE))


def remaining_error(error_probability: np.ndarray) -> float:
    """Expected number of wrong voxels, of those that may be (`POSSIBLE`), from 1 - p[label] `[*S]`."""
    return float(error_probability.sum(dtype=np.float64, where=error_probability >= POSSIBLE))


def expected_dice(probability: np.ndarray, inside: np.ndarray) -> float | None:
    """2 E|Y and L| / (E|Y| + |L|) of a label L under voxel probabilities; None where both are empty.

    A ratio of expectations, which differs from the expected ratio by O(1 / voxels) (METHODS 1.5).
    """
    total = float(probability.sum(dtype=np.float64)) + float(inside.sum())
    if total < 0.5:  # not even half a voxel is expected: there is nothing to overlap with
        return None
    return 2 * float(probability[inside].sum(dtype=np.float64)) / total


def _mean(error_probability: np.ndarray, inside: np.ndarray) -> float:
    return float(error_probability[inside].mean(dtype=np.float64))


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


def _at_face(inside: np.ndarray) -> bool:
    return any(inside.take([0, -1], axis).any() for axis in range(inside.ndim) if inside.shape[axis] > 1)


def _outside(inside: np.ndarray, inner: np.ndarray | None) -> bool:
    """Whether a mask leaves the part of the scan that the model saw, or touches its edge."""
    return inner is not None and bool(np.any(inside & ~inner))
