"""Error probabilities that come true: isotonic regression on calibration cases, judged on cases held out from it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from uncertaintyseg.metrics.calibration import BINS
from uncertaintyseg.review.tally import Tally, pooled

FOLDS = 5
_OWN = 1e-3
"""Share of the model's own error probability that is mixed in: then no two that differ become equal."""


class Recalibration(BaseModel):
    """A strictly rising line through points, from 0 to 1: what the model says, and how often it was wrong then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    said: list[float]
    found: list[float]
    ece_before: float = Field(description="ECE of the model's own error probability, mean over held-out folds.")
    ece_after: float = Field(description="The same after recalibration on the other folds.")

    def __call__(self, error_probability: np.ndarray) -> np.ndarray:
        """Recalibrated values, of the same shape and kind; 0 stays 0 and the order stays."""
        found = np.interp(error_probability, self.said, self.found)
        return found.astype(error_probability.dtype)


def fit_recalibration(cases: list[Tally]) -> Recalibration | None:
    """Fit on all cases what lowers the expected calibration error on held-out ones; None where it does not.

    Each fold leaves out every fifth case. The error is over 15 equal bins of the error probability (METHODS 8).
    """
    before, after = [], []
    for fold in range(min(FOLDS, len(cases))):
        rest = [case for index, case in enumerate(cases) if index % FOLDS != fold]
        if not rest:
            return None
        held_out = pooled(cases[fold::FOLDS])
        said = _mean(held_out)
        before.append(_expected_error(held_out, said))
        after.append(_expected_error(held_out, np.interp(said, *_points(pooled(rest)))))
    ece_before, ece_after = float(np.mean(before)), float(np.mean(after))
    if ece_after >= ece_before:
        return None
    said, found = (values.tolist() for values in _points(pooled(cases)))
    return Recalibration(said=said, found=found, ece_before=round(ece_before, 6), ece_after=round(ece_after, 6))


def _mean(voxels: Tally) -> np.ndarray:
    """Mean error probability of the voxels in each bin; 0 where there is none."""
    return voxels.said / np.maximum(voxels.count, 1)


def _points(voxels: Tally) -> tuple[np.ndarray, np.ndarray]:
    """Mean error probability and frequency of errors of each isotonic block, with (0, 0) and (1, 1) at the ends."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - slow to load, and few need it

    some = (voxels.count > 0) & (voxels.said > 0)
    if not some.any():
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    said, count = _mean(voxels)[some], voxels.count[some]
    fit = IsotonicRegression(y_min=0, y_max=1).fit_transform(said, voxels.wrong[some] / count, sample_weight=count)
    _, block = np.unique(fit, return_inverse=True)
    weight = np.bincount(block, count)
    x = np.bincount(block, count * said) / weight
    y = np.bincount(block, count * fit) / weight
    x, y = np.concatenate([[0.0], x, [1.0]]), np.concatenate([[0.0], y, [1.0]])
    return x, (1 - _OWN) * y + _OWN * x


def _expected_error(voxels: Tally, said: np.ndarray) -> float:
    bins = np.clip(np.ceil(said * BINS).astype(int) - 1, 0, BINS - 1)
    gap = np.bincount(bins, voxels.wrong - voxels.count * said, BINS)
    return float(np.abs(gap).sum() / voxels.count.sum())
