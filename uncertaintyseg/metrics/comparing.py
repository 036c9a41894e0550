"""Several runs over the same cases: paired tests, and figures of pooled voxels beside means over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from uncertaintyseg.metrics.intervals import RESAMPLES, Interval, percentile_interval

OVERLAPS = {"dice": (2, 2, 1, 1), "iou": (1, 1, 1, 1), "precision": (1, 1, 1, 0), "recall": (1, 1, 0, 1)}
"""A measure of pooled voxels: how often TP counts above the line, and TP, FP and FN below it."""


def ratio_with_interval(
    parts: Sequence[float], wholes: Sequence[float], groups: Sequence[str], seed: int = 0
) -> Interval:
    """Sum of parts / sum of wholes over cases, with a 95 % percentile bootstrap interval that draws groups (9999).

    Cases of a subject resemble each other, so subjects are drawn with all their cases (Cameron et al. 2008, cluster
    bootstrap). Wholes of 1 give the mean over cases. Cases with a NaN are left out; without a whole all is NaN.

    Args:
        parts: one a case.
        wholes: one a case, not negative.
        groups: the subject of each case.
        seed: of the resamples.
    """
    part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    kept = ~(np.isnan(part) | np.isnan(whole))
    names, index = np.unique(np.asarray(groups)[kept], return_inverse=True)
    tops, bottoms = (np.bincount(index, weights=values[kept], minlength=len(names)) for values in (part, whole))
    if not bottoms.sum():
        return Interval(math.nan, math.nan, math.nan)
    ratio = float(tops.sum() / bottoms.sum())
    if len(names) < 2:
        return Interval(ratio, ratio, ratio)
    drawn = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
    below = bottoms[drawn].sum(1)
    return percentile_interval(ratio, tops[drawn].sum(1)[below > 0] / below[below > 0])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the k-th smallest of m times m - k + 1, never falling, 1 at most.

    NaN stays NaN and counts for no test.
    """
    p = np.asarray(p_values, np.float64)
    corrected = np.full(p.size, np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    steps = [min(1.0, float(p[i]) * (len(order) - k)) for k, i in enumerate(order)]
    corrected[order] = np.maximum.accumulate(steps) if steps else []
    return corrected.tolist()


def paired_test(first: Sequence[float], second: Sequence[float], groups: Sequence[str]) -> dict[str, Any]:
    """Wilcoxon's signed-rank test of second - first over subjects, and the mean difference over cases.

    A subject counts with the mean over its cases, which are not independent. Cases where either is NaN are left out;
    p is 1 where nothing differs, and NaN without cases.

    Returns:
        `n` subjects, `difference` with its interval (`ratio_with_interval`), and `p`, of two sides.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    kept = ~np.isnan(differences)
    names, index = np.unique(np.asarray(groups)[kept], return_inverse=True)
    means = np.bincount(index, weights=differences[kept]) / np.bincount(index) if len(names) else np.zeros(0)
    p = math.nan if not len(names) else float(wilcoxon(means).pvalue) if means.any() else 1.0
    found = ratio_with_interval(differences, np.ones_like(differences), groups)
    return {"n": len(names), "difference": found._asdict(), "p": p}


def pooled(rows: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, Any]:
    """What the cases say with all their voxels in one pot, so that large cases and structures count for more.

    Args:
        rows: `cases` of the JSON of `evaluate`, with `counts`, `voxels` and `bins`.
        groups: the subject of each.

    Returns:
        `structures` with `OVERLAPS`, `nll` and `brier` a voxel, each with an interval over subjects; and `ece`.
    """
    voxels = [row["voxels"] for row in rows]
    structures: dict[str, Any] = {}
    for name in rows[0]["counts"]:
        counts = np.array([[row["counts"][name][kind] for kind in ("tp", "fp", "fn")] for row in rows], np.float64)
        structures[name] = {
            measure: ratio_with_interval(top * counts[:, 0], counts @ below, groups)._asdict()
            for measure, (top, *below) in OVERLAPS.items()
        }
    gaps = np.sum([np.subtract(row["bins"]["right"], row["bins"]["confidence"]) for row in rows], axis=0)
    return {
        "structures": structures,
        **{
            name: ratio_with_interval(np.multiply([row[name] for row in rows], voxels), voxels, groups)._asdict()
            for name in ("nll", "brier")
        },
        "ece": float(np.abs(gaps).sum() / np.sum(voxels)),
    }
