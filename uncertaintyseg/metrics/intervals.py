"""Means over cases with their uncertainty, and intervals that hold the next of several draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

SHARE = 0.95
"""Of one more draw that an interval holds."""
RESAMPLES = 9999
"""Of a bootstrap."""
_TAIL = (1 - 0.95) / 2


class Interval(NamedTuple):
    """A mean over cases and its 95 % bootstrap interval."""

    mean: float
    lo: float
    hi: float


class DrawInterval(NamedTuple):
    """Where the next draw lies.

    Attributes:
        limits: lowest and highest value, `[2, ...]`; None where there were too few draws.
        coverage: chance that the next draw lies within; without limits what the range of all draws has.
        rank: of the limits among the draws, 1 for smallest and largest.
    """

    limits: np.ndarray | None
    coverage: float
    rank: int


def draw_interval(draws: np.ndarray, share: float = SHARE) -> DrawInterval:
    """The narrowest interval of order statistics that holds one more draw with a chance of `share` or more.

    Of n exchangeable draws and one more, that one lies between the r-th smallest and the r-th largest with chance
    (n + 1 - 2 r) / (n + 1), and more where values tie (Wilks 1941). Percentiles of the draws do not have theirs: the
    2.5th and the 97.5th of 64 hold 92 %, of 16 hold 84 %.

    Args:
        draws: `[n, ...]`, each place by itself.
        share: in (0, 1).
    """
    count = len(draws)
    rank = int((count + 1) * (1 - share) / 2 + 1e-9)
    coverage = (count + 1 - 2 * max(rank, 1)) / (count + 1)
    if rank < 1:
        return DrawInterval(None, coverage, 1)
    ordered = np.sort(draws, axis=0)
    return DrawInterval(ordered[[rank - 1, -rank]], coverage, rank)


def fewest_draws(share: float = SHARE) -> int:
    """Draws from which `draw_interval` has limits: 39 for 95 %."""
    return math.ceil(2 / (1 - share) - 1 - 1e-9)


def mean_with_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean over cases with a 95 % percentile bootstrap interval (9999 resamples); NaN cases are left out.

    With one case, or cases that are all equal, the interval is the mean itself; with none everything is NaN.
    """
    kept = np.array([value for value in values if not np.isnan(value)])
    mean = mean_of_defined(kept)
    if kept.size < 2 or np.ptp(kept) == 0:
        return Interval(mean, mean, mean)
    drawn = np.random.default_rng(seed).integers(0, kept.size, (RESAMPLES, kept.size))
    return percentile_interval(mean, kept[drawn].mean(1))


def percentile_interval(mean: float, drawn: np.ndarray) -> Interval:
    """The 95 % interval of a figure from what it is in bootstrap resamples `[n]`."""
    low, high = _quantiles(drawn, (_TAIL, 1 - _TAIL))
    # Of nearly equal cases rounding can put the ends on the wrong side of the mean.
    return Interval(mean, min(mean, low), max(mean, high))


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """To the last bit as `scipy.stats.bootstrap` interpolates them, which spends most of its time on other things."""
    places = [share * len(values) + (1 - share) - 1 for share in shares]
    ordered = np.partition(values, [int(place) + step for place in places for step in (0, 1)])
    between = [(ordered[int(place)], ordered[int(place) + 1], (place + 1) % 1) for place in places]
    return [float((1 - share) * lower + share * upper) for lower, upper, share in between]


def mean_of_defined(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN when nothing is left."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")
