"""Numbers about a case: how much it would pay to look at it. Higher is more urgent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from uncertaintyseg.active.near import means_near
from uncertaintyseg.wire import Structure

NEAR_MM = 3.0
FOREGROUND = "foreground_ml"
"""Key of the predicted foreground among the scores of a case: no measure of doubt, but what strategies draw by."""

RANKING = "ranking"
"""The map by which SegWithU ranks voxels (METHODS 7.2)."""


class Acquisition(NamedTuple):
    """One measure of doubt about a case.

    Attributes:
        unit: of the score.
        summary: for people.
        map: a map that only some heads make, without which there is no such score.
    """

    unit: str
    summary: str
    map: str | None = None


ACQUISITIONS: dict[str, Acquisition] = {
    "predictive_entropy": Acquisition("nats", "mean predictive entropy within 3 mm of the foreground"),
    "mean_entropy": Acquisition("nats", "mean predictive entropy of the volume; grows with the size of the structures"),
    "mutual_information": Acquisition("nats", "mean mutual information within 3 mm of the foreground"),
    "variance": Acquisition("1", "mean variance of the probabilities within 3 mm of the foreground"),
    "risk_ranking": Acquisition("1", "mean of SegWithU's ranking within 3 mm of the foreground", RANKING),
    "expected_dice_loss": Acquisition("1", "1 - Dice that the model itself expects, a mean over the structures"),
    "volume_interval": Acquisition("1", "width of the 95 % volume interval / its middle, a mean over the structures"),
}


def of_structure(name: str) -> str:
    """Key of the predictive entropy around one structure."""
    return f"predictive_entropy_{name}"


def case_scores(
    maps: Mapping[str, np.ndarray],
    label: np.ndarray,
    spacing: Sequence[float],
    structures: Sequence[Structure],
    *,
    clip: bool = False,
    voxel_ml: float | None = None,
) -> dict[str, float]:
    """Every measure in `ACQUISITIONS` that the model gives, `FOREGROUND` and the entropy around each structure found.

    Args:
        maps: predictive_entropy, mutual_information and variance, `[*S]`; without a SegWithU head's ranking there is no
            `risk_ranking`.
        label: predicted class ids `[*S]`.
        spacing: of the voxels in mm.
        structures: the structure table; without intervals there is no `volume_interval`.
        clip: the third axis is time.
        voxel_ml: how large a voxel counts, where that is not its volume in mL.
    """
    names = {row.id: row.name for row in structures}
    measured = {name: maps[name] for name in ("predictive_entropy", "mutual_information", "variance")}
    if RANKING in maps:
        measured["risk_ranking"] = maps[RANKING]
    near, around = means_near(measured, label, spacing, NEAR_MM, of_each="predictive_entropy", clip=clip)
    scores = near | {"mean_entropy": float(maps["predictive_entropy"].mean(dtype=np.float64))}
    losses = [1 - row.expected_dice for row in structures if row.expected_dice is not None]
    scores["expected_dice_loss"] = float(np.mean(losses)) if losses else 0.0
    widths = [_relative_width(*row.volume_ml_95) for row in structures if row.volume_ml_95 is not None]
    if widths:
        scores["volume_interval"] = float(np.mean(widths))
    voxels = np.count_nonzero(label)
    scores[FOREGROUND] = float(voxels * np.prod(spacing) / 1000 if voxel_ml is None else voxels * voxel_ml)
    return scores | {of_structure(names[i]): mean for i, mean in around.items() if i in names}


def entropy_near_foreground(
    entropy: np.ndarray, label: np.ndarray, spacing: Sequence[float], near_mm: float = NEAR_MM
) -> float:
    """Mean predictive entropy (nats) within `near_mm` of the predicted foreground, itself included.

    A mean over the whole volume would mostly measure how large the structure is. Where nothing was predicted it is
    the mean over the volume.

    Args:
        entropy: `[*S]`.
        label: predicted class ids `[*S]`.
        spacing: of the voxels in mm.
        near_mm: how far beyond the foreground to look.
    """
    return means_near({"entropy": entropy}, label, spacing, near_mm)[0]["entropy"]


def _relative_width(low: float, high: float) -> float:
    return 2 * (high - low) / (high + low) if high + low > 0 else 0.0
