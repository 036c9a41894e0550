"""Scores of whole cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import bootstrap, mannwhitneyu

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.cases import (
    case_selection,
    foreground_threshold,
    largest_patch,
    mean_above,
    mean_risk,
    ood_auroc,
)


def test_scores_that_follow_the_dice_are_as_good_as_can_be():
    dice = [0.9, 0.5, 0.8, 0.7]
    good, bad = case_selection([1, 4, 2, 3], dice), case_selection([4, 1, 3, 2], dice)
    assert good.e_aurc == pytest.approx(0)
    assert (good.spearman, bad.spearman) == pytest.approx((1, -1))
    assert good.aurc == pytest.approx(np.mean(np.cumsum([0.1, 0.2, 0.3, 0.5]) / [1, 2, 3, 4]))
    assert bad.aurc == pytest.approx(np.mean(np.cumsum([0.5, 0.3, 0.2, 0.1]) / [1, 2, 3, 4]))
    assert good.augrc < bad.augrc


def test_equal_scores_keep_the_mean_risk_at_every_coverage():
    found = case_selection([1, 1, 1], [0.9, 0.5, 0.7])
    assert found.aurc == pytest.approx(0.3)
    assert math.isnan(found.spearman)


def test_cases_without_a_dice_are_left_out():
    nan = math.nan
    assert case_selection([1, 2, 9], [0.9, 0.5, nan]) == case_selection([1, 2], [0.9, 0.5])
    assert all(math.isnan(value) for value in case_selection([], []))
    assert math.isnan(case_selection([3], [0.5]).spearman)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 case scores for 1 Dice values"):
        case_selection([1, 2], [0.5])
    with pytest.raises(InputError, match="the case score is NaN"):
        case_selection([1, math.nan], [0.5, 0.6])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_ood_auroc_is_the_share_of_pairs_in_order(inside, outside):
    pairs = [(b > a) + (b == a) / 2 for a in inside for b in outside]
    found = ood_auroc(inside, outside)
    assert found.mean == pytest.approx(np.mean(pairs))
    assert 0 <= found.lo <= found.mean <= found.hi <= 1


def test_the_interval_of_an_ood_auroc_is_that_of_scipys_bootstrap():
    random = np.random.default_rng(3)
    inside, outside = random.normal(0, 1, 25), random.normal(0.8, 1, 18)

    def area(low, high):
        return mannwhitneyu(high, low).statistic / (low.size * high.size)

    wanted = bootstrap((inside, outside), area, vectorized=False, method="percentile", n_resamples=3000, rng=random)
    found = ood_auroc(inside, outside)
    assert found.mean == pytest.approx(area(inside, outside))
    assert (found.lo, found.hi) == pytest.approx(tuple(wanted.confidence_interval), abs=0.015)
    assert ood_auroc(inside, outside) == found


def test_an_ood_auroc_needs_finite_scores_of_cases_of_both_kinds():
    assert all(math.isnan(value) for value in (*ood_auroc([], [1]), *ood_auroc([1], [])))
    assert ood_auroc([0.1], [0.2]) == (1, 1, 1)
    with pytest.raises(InputError, match="the case score is NaN"):
        ood_auroc([0.1, math.nan], [0.2])


@pytest.mark.parametrize("shape", [(13, 12, 11), (14, 10, 4), (3, 1, 2), (12, 11)])
@pytest.mark.parametrize("side", [10, 3, 4])
def test_the_largest_patch_agrees_with_every_patch(shape, side):
    risk = np.random.default_rng(0).random(shape).astype(np.float32)
    window = [min(side, n) for n in shape]
    means = sliding_window_view(risk, window).mean(tuple(range(-len(shape), 0)))
    assert largest_patch(risk, side) == pytest.approx(means.max(), rel=1e-5)


def test_a_threshold_is_what_the_foreground_share_of_the_training_maps_exceeds():
    maps = [np.random.default_rng(seed).permutation(1000) / 1000 for seed in range(3)]
    threshold = foreground_threshold((values for values in maps), 0.1)
    assert threshold == pytest.approx(0.9, abs=1e-3)
    assert (maps[0] > threshold).mean() == pytest.approx(0.1, abs=1e-3)
    assert mean_above(maps[0], threshold) == pytest.approx(0.95, abs=1e-3)
    assert mean_above(maps[0], 2.0) == 2.0
    assert mean_risk(maps[0]) == pytest.approx(0.4995)


def test_thresholds_that_cannot_be_are_refused():
    for fraction in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="not between 0 and 1"):
            foreground_threshold([np.zeros(3)], fraction)
    with pytest.raises(InputError, match="map of one training case"):
        foreground_threshold([], 0.1)
