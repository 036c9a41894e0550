"""Overlap of a label with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap


def dice(label: np.ndarray, reference: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two masks `[*S]`; NaN where both are empty."""
    total = int(label.sum()) + int(reference.sum())
    return 2 * int((label & reference).sum()) / total if total else float("nan")


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
    if kept.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(kept.mean())
    if kept.size == 1 or np.ptp(kept) == 0:
        return Interval(mean, mean, mean)
    found = bootstrap((kept,), np.mean, method="percentile", rng=np.random.default_rng(seed)).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
