"""One number a case: whether it tells which cases are badly segmented, and which are unlike the training data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import check_finite
from uncertaintyseg.metrics.intervals import RESAMPLES, Interval, mean_of_defined, percentile_interval
from uncertaintyseg.metrics.risk_coverage import augrc, aurc, e_aurc, ranking

PATCH = 10
"""Side in voxels of the patches of `largest_patch`."""


class CaseSelection(NamedTuple):
    """How well scores order cases by risk, 1 - Dice."""

    aurc: float
    e_aurc: float
    augrc: float
    spearman: float
    """Rank correlation of score and risk, 1 at best; NaN with fewer than two cases or where one of both is constant."""


def case_selection(scores: Sequence[float], dice: Sequence[float]) -> CaseSelection:
    """Risk and coverage over cases: risk 1 - Dice, confidence -score (METHODS 8); cases without a Dice are left out.

    Args:
        scores: one a case, higher where it is riskier.
        dice: mean over the structures of a case.

    Raises:
        InputError: when the lengths differ or a score is not finite.
    """
    score, quality = np.asarray(scores, np.float64), np.asarray(dice, np.float64)
    if score.shape != quality.shape:
        raise InputError(f"{score.size} case scores for {quality.size} Dice values: give one score a case.")
    known = ~np.isnan(quality)
    score, risk = score[known], 1 - quality[known]
    check_finite("the case score", score)
    ranked = ranking(score, risk)
    varied = risk.size > 1 and np.ptp(risk) > 0 and np.ptp(score) > 0
    return CaseSelection(
        aurc=aurc(ranked),
        e_aurc=e_aurc(ranked, ranking(risk, risk)),
        augrc=augrc(ranked),
        spearman=float(spearmanr(score, risk).statistic) if varied else math.nan,
    )


def ood_auroc(inside: Sequence[float], outside: Sequence[float], seed: int = 0) -> Interval:
    """Chance that a case from elsewhere scores higher than one of the data set, ties counting half (METHODS 8).

    The 95 % percentile bootstrap draws the cases of either side by themselves, with replacement (9999 resamples). It
    knows nothing of cases that were not there: where all of one side are above the other it is the figure itself.

    Returns:
        The area as `mean`, and its interval; NaN where either side has no case.

    Raises:
        InputError: when a score is not finite.
    """
    if not (len(inside) and len(outside)):
        return Interval(math.nan, math.nan, math.nan)
    low, high = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    for scores in (low, high):
        check_finite("the case score", scores)
    auroc = float(roc_auc_score([0] * low.size + [1] * high.size, [*low, *high]))
    ordered = (high > low[:, None]) + 0.5 * (high == low[:, None])
    random = np.random.default_rng(seed)
    times = [random.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64) for n in ordered.shape]
    return percentile_interval(auroc, (times[0] @ ordered * times[1]).sum(1) / ordered.size)


def mean_risk(risk: np.ndarray) -> float:
    """Mean over all voxels."""
    return float(risk.mean(dtype=np.float64))


def largest_patch(risk: np.ndarray, side: int = PATCH, *, clip: bool = False) -> float:
    """Largest mean risk of a patch of `side` voxels along each axis (all of a shorter one), wholly in the volume.

    In a clip, whose third axis is time, wholly in a frame.
    """
    size = [min(side, n) for n in risk.shape]
    if clip:
        size[2] = 1
    smooth = uniform_filter(risk.astype(np.float64), size, mode="nearest")
    whole = tuple(slice(k // 2, k // 2 + n - k + 1) for k, n in zip(size, risk.shape, strict=True))
    return float(smooth[whole].max())


def foreground_threshold(risks: Iterable[np.ndarray], fraction: float) -> float:
    """Risk that a share `fraction` of the voxels of a training case exceeds, on average over the cases.

    Args:
        risks: a map `[*S]` a training case; one at a time is held.
        fraction: mean share of foreground in the training labels, from 0 to 1.

    Raises:
        InputError: for a fraction outside 0 to 1, or without maps.
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"foreground fraction {fraction:g} is not between 0 and 1.")
    threshold = mean_of_defined(float(np.quantile(risk, 1 - fraction)) for risk in risks)
    if math.isnan(threshold):
        raise InputError("a threshold needs the map of one training case at least, without NaN.")
    return threshold


def mean_above(risk: np.ndarray, threshold: float) -> float:
    """Mean risk of the voxels above a threshold, which is the threshold itself where there is none."""
    above = risk[risk > threshold]
    return mean_risk(above) if above.size else float(threshold)
