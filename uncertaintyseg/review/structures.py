"""The structure table: one row a structure, with its volume, risk and expected quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uncertaintyseg.wire import Label, Structure

LOW_DICE = 0.8
"""A structure whose expected Dice is below this is flagged."""


def structure_table(
    label: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    error_probability: np.ndarray,
    labels: Sequence[Label],
    voxel_ml: float,
    intervals: Mapping[int, tuple[float, float]] | None,
    interval_method: str,
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
    """
    rows = []
    for item in labels:
        inside = label == item.id
        voxels = int(inside.sum())
        dice = expected_dice(probabilities[item.name], inside)
        interval = None if intervals is None else tuple(round(limit, 4) for limit in intervals[item.id])
        rows.append(
            Structure(
                name=item.name,
                id=item.id,
                volume_ml=round(voxels * voxel_ml, 4),
                volume_ml_95=interval,
                interval_method=interval_method,
                mean_risk=round(float(error_probability[inside].mean(dtype=np.float64)), 4) if voxels else None,
                expected_dice=None if dice is None else round(dice, 4),
                flag=_flag(voxels, dice),
            )
        )
    return rows


def expected_dice(probability: np.ndarray, inside: np.ndarray) -> float | None:
    """2 E|Y and L| / (E|Y| + |L|) of a label L under voxel probabilities; None where both are empty.

    A ratio of expectations, which differs from the expected ratio by O(1 / voxels) (METHODS 1.5).
    """
    total = float(probability.sum(dtype=np.float64)) + float(inside.sum())
    if total < 0.5:  # not even half a voxel is expected: there is nothing to overlap with
        return None
    return 2 * float(probability[inside].sum(dtype=np.float64)) / total


def _flag(voxels: int, dice: float | None) -> str | None:
    if voxels == 0:
        return "not found"
    if dice is not None and dice < LOW_DICE:
        return f"expected Dice below {LOW_DICE}"
    return None
