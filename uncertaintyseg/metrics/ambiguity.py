"""Samples and variances of a model against several raters of the same scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import BLOCK, blocks, check_finite, check_shapes

Pairs = Literal["all", "distinct"]


def iou_distances(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    """1 - mean over structures of the IoU, `[S, R]`; a structure that both lack has IoU 1 (METHODS 2.5).

    Args:
        first: class ids `[S, *spatial]`.
        second: class ids `[R, *spatial]`.
        classes: C, background included.

    Raises:
        InputError: when the grids differ, nothing was given, or a class id is not below `classes`.
    """
    check_shapes("a sample", first.shape[1:], second.shape[1:])
    if classes < 2 or not (len(first) and len(second)):
        raise InputError(f"{len(first)} and {len(second)} labels of {classes} classes: give one label and two classes.")
    if max(first.max(initial=0), second.max(initial=0)) >= classes:
        raise InputError(f"a label holds a class above {classes - 1}: check the ids.")
    one, other = (labels.reshape(len(labels), -1) for labels in (first, second))
    both = np.zeros((classes - 1, len(one), len(other)))
    for part in blocks(one.shape[1], BLOCK // max(len(one), len(other))):
        for index in range(1, classes):
            # Counts in a block are below 2^24, so float32 holds them exactly.
            a, b = ((labels[:, part] == index).astype(np.float32) for labels in (one, other))
            both[index - 1] += a @ b.T
    sizes = [np.stack([(labels == index).sum(1) for index in range(1, classes)]) for labels in (one, other)]
    either = sizes[0][:, :, None] + sizes[1][:, None, :] - both
    iou = np.divide(both, either, out=np.ones_like(both), where=either > 0)
    return 1 - iou.mean(0)


def ged_squared(samples: np.ndarray, raters: np.ndarray, classes: int, pairs: Pairs = "all") -> float:
    """Generalised energy distance 2 E d(s, y) - E d(s, s') - E d(y, y') with the IoU distance d (METHODS 2.5).

    With `pairs="all"` the last two means run over the full matrix, a label with itself included, as in SSN's code; that
    is a squared distance between the two sets, never negative. With `"distinct"` they run over i < j, as in LSN's code:
    unbiased for fresh samples, so it can be negative; the mean is 0 where there is no pair. The two differ: say which.

    Args:
        samples: class ids `[S, *spatial]`.
        raters: class ids `[R, *spatial]`.
        classes: C, background included.
        pairs: `all` or `distinct`.

    Raises:
        InputError: as `iou_distances`.
    """
    across = iou_distances(samples, raters, classes).mean()
    return float(2 * across - diversity(samples, classes, pairs) - diversity(raters, classes, pairs))


def diversity(labels: np.ndarray, classes: int, pairs: Pairs = "all") -> float:
    """E d(s, s') within a set of labels `[S, *spatial]`; `pairs` and Raises: as `ged_squared`."""
    distances = iou_distances(labels, labels, classes)
    if pairs == "all":
        return float(distances.mean())
    upper = distances[np.triu_indices(len(labels), k=1)]
    return float(upper.mean()) if upper.size else 0.0


def rater_variance(raters: np.ndarray, classes: int) -> np.ndarray:
    """Half the sum over classes of the raters' variance (ddof 1), `[*spatial]`: the scale of the map `variance`.

    Args:
        raters: class ids `[R, *spatial]`.
        classes: C, background included.

    Raises:
        InputError: with fewer than two raters.
    """
    if len(raters) < 2:
        raise InputError(f"a variance between raters needs two of them, not {len(raters)}.")
    votes = len(raters)
    share = (np.mean(raters == index, axis=0) for index in range(classes))
    return sum(p * (1 - p) for p in share) * votes / (votes - 1) / 2


def normalised_cross_correlation(predicted: np.ndarray, observed: np.ndarray) -> float:
    """1 / (N s1 s2) times the sum of the products of both maps' deviations, s with ddof 1 (VALUES; METHODS 8).

    That is (N - 1) / N times Pearson's correlation; NaN where a map is constant.

    Raises:
        InputError: when the shapes differ or a map is not finite.
    """
    check_shapes("the predicted variance", predicted.shape, observed.shape)
    check_finite("the predicted variance", predicted)
    count = predicted.size
    if count < 2 or np.ptp(predicted) == 0 or np.ptp(observed) == 0:
        return math.nan
    flat = [(values.reshape(-1), values.mean(dtype=np.float64)) for values in (predicted, observed)]
    both, one, other = 0.0, 0.0, 0.0
    for part in blocks(count):
        a, b = (np.subtract(values[part], mean, dtype=np.float64) for values, mean in flat)
        both, one, other = both + float(a @ b), one + float(a @ a), other + float(b @ b)
    return both * (count - 1) / (count * math.sqrt(one) * math.sqrt(other))


def interval_coverage(intervals: Sequence[tuple[float, float] | None], volumes: np.ndarray) -> float:
    """Share of the raters' volumes that lie in the model's interval of the structure; NaN where none has an interval.

    Args:
        intervals: low and high a structure (K of them), ends included; None where the model gives none.
        volumes: of each rater and structure in the same unit, `[R, K]`.

    Raises:
        InputError: when the numbers of structures differ.
    """
    check_shapes("the list of intervals", (len(intervals),), volumes.shape[1:])
    held = [
        (volumes[:, index] >= limits[0]) & (volumes[:, index] <= limits[1])
        for index, limits in enumerate(intervals)
        if limits is not None
    ]
    return float(np.mean(held)) if held else math.nan
