"""Error probabilities that come true: isotonic regression on calibration cases, judged on cases held out from it.

They are made from the model's own error probability, or from any other map that ranks its errors.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from uncertaintyseg.metrics.calibration import BINS
from uncertaintyseg.review.tally import Tally, pooled

FOLDS = 5
_OWN = 1e-3
"""Share of the map itself that is mixed in, between its ends: then no two values that differ become equal."""


class Recalibration(BaseModel):
    """A strictly rising line through points: what a map says, and how often the model was wrong then, from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    said: list[float]
    found: list[float]
    ece_before: float = Field(description="ECE of the model's own error probability, mean over held-out folds.")
    ece_after: float = Field(description="That of what this line makes of the map, fitted on the other folds.")

    @model_validator(mode="after")
    def _rises(self) -> Recalibration:
        if len(self.said) != len(self.found) or len(self.said) < 2:
            raise ValueError("a recalibration needs as many values found as said, two or more")
        ends = self.found[0], self.found[-1]
        if (np.diff(self.said) <= 0).any() or (np.diff(self.found) <= 0).any() or ends != (0, 1):
            raise ValueError("a recalibration rises, from 0 to 1")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest value of the map."""
        return self.said[0], self.said[-1]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Error probabilities, of the same shape and kind; the smallest value becomes 0 and the order stays.

        They are rounded up: what lies above a value of the map lies above what that becomes, so both ask for the same
        review.
        """
        found = np.interp(values, self.said, self.found)
        rounded = found.astype(values.dtype)
        return np.where(rounded < found, np.nextafter(rounded, np.ones((), values.dtype)), rounded)


def fit_recalibration(
    cases: list[Tally], limits: tuple[float, float] = (0.0, 1.0), own: list[Tally] | None = None
) -> Recalibration | None:
    """Fit error probabilities to a map on all cases.

    The model's own is replaced only where that lowers its expected calibration error on held-out cases; otherwise the
    answer is None. Each fold leaves out every fifth case. The error is over 15 equal bins of the error probability
    (METHODS 8).

    Args:
        cases: tallies of the map.
        limits: smallest and largest value of the map.
        own: tallies of the model's own error probability, where the map is another one.
    """
    before, after = [], []
    for fold in range(min(FOLDS, len(cases))):
        rest = [case for index, case in enumerate(cases) if index % FOLDS != fold]
        if not rest:
            return None
        held_out, model = pooled(cases[fold::FOLDS]), pooled((own or cases)[fold::FOLDS])
        before.append(_expected_error(model, _mean(model)))
        after.append(_expected_error(held_out, np.interp(_mean(held_out), *_points(pooled(rest), limits))))
    ece_before, ece_after = float(np.mean(before)), float(np.mean(after))
    if ece_after >= ece_before and own is None:
        return None
    said, found = (values.tolist() for values in _points(pooled(cases), limits))
    return Recalibration(said=said, found=found, ece_before=round(ece_before, 6), ece_after=round(ece_after, 6))


def _mean(voxels: Tally) -> np.ndarray:
    """Mean of what was said of the voxels in each bin; 0 where there is none."""
    return voxels.said / np.maximum(voxels.count, 1)


def _points(voxels: Tally, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of what was said and frequency of errors of each isotonic block, with 0 and 1 at the map's ends."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - slow to load, and few need it

    low, high = limits
    some = (voxels.count > 0) & (_mean(voxels) > low) & (_mean(voxels) < high)
    if not some.any():
        return np.array(limits), np.array([0.0, 1.0])
    said, count = _mean(voxels)[some], voxels.count[some]
    fit = IsotonicRegression(y_min=0, y_max=1).fit_transform(said, voxels.wrong[some] / count, sample_weight=count)
    _, block = np.unique(fit, return_inverse=True)
    weight = np.bincount(block, count)
    x = np.bincount(block, count * said) / weight
    y = np.bincount(block, count * fit) / weight
    x, y = np.concatenate([[low], x, [high]]), np.concatenate([[0.0], y, [1.0]])
    return x, (1 - _OWN) * y + _OWN * (x - low) / (high - low)


def _expected_error(voxels: Tally, said: np.ndarray) -> float:
    bins = np.clip(np.ceil(said * BINS).astype(int) - 1, 0, BINS - 1)
    gap = np.bincount(bins, voxels.wrong - voxels.count * said, BINS)
    return float(np.abs(gap).sum() / voxels.count.sum())
