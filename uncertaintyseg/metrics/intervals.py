"""Means over cases with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap


class Interval(NamedTuple):
    """A mean over cases and its 95 % bootstrap interval."""

    mean: float
    lo: float
    hi: float


def mean_with_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean over cases with a 95 % percentile bootstrap interval (9999 resamples); NaN cases are left out.

    With one case, or cases that are all equal, the interval is the mean itself; with none everything is NaN.
    """
    kept = np.array([value for value in values if not np.isnan(value)])
    mean = mean_of_defined(kept)
    if kept.size < 2 or np.ptp(kept) == 0:
        return Interval(mean, mean, mean)
    found = bootstrap((kept,), np.mean, method="percentile", rng=np.random.default_rng(seed)).confidence_interval
    # Of nearly equal cases rounding can put the ends on the wrong side of the mean.
    return Interval(mean, min(mean, float(found.low)), max(mean, float(found.high)))


def mean_of_defined(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN when nothing is left."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")
