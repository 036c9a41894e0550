"""Means over cases, and intervals that hold one more draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from uncertaintyseg.metrics.intervals import draw_interval, fewest_draws, mean_of_defined, mean_with_interval


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_mean_lies_in_its_interval(values):
    found = mean_with_interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.lo <= found.mean <= found.hi


def test_the_interval_is_close_to_that_of_a_normal_mean_and_repeats():
    values = np.random.default_rng(0).normal(0.8, 0.1, 200).tolist()
    found = mean_with_interval(values)
    half = 1.96 * np.std(values) / np.sqrt(200)
    assert found.lo == pytest.approx(found.mean - half, abs=0.002)
    assert found.hi == pytest.approx(found.mean + half, abs=0.002)
    assert mean_with_interval(values) == found


@pytest.mark.parametrize("count", [2, 3, 17, 60])
def test_the_interval_is_the_percentile_bootstrap_of_scipy(count):
    values = np.random.default_rng(count).normal(0.8, 0.1, count)
    found = mean_with_interval(values, seed=3)
    wanted = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(3)).confidence_interval
    assert (found.lo, found.hi) == pytest.approx(tuple(wanted), rel=1e-14)


def test_cases_without_the_structure_are_left_out():
    nan = float("nan")
    assert mean_with_interval([0.5, nan, 0.7]).mean == pytest.approx(0.6)
    assert mean_with_interval([0.5, nan]) == (0.5, 0.5, 0.5)
    assert mean_with_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert mean_of_defined([0.5, nan, 0.7]) == pytest.approx(0.6)
    for values in ([], [nan, nan]):
        assert all(math.isnan(value) for value in (*mean_with_interval(values), mean_of_defined(values)))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_an_interval_of_draws_is_the_narrowest_that_holds_the_next_often_enough(share):
    few = fewest_draws(share)
    for count in (few, few + 1, 2 * few, 500):
        values = np.random.default_rng(count).permutation(count).astype(float)  # any law: only ranks matter
        found = draw_interval(values, share)
        low, high = found.limits
        # One more draw falls into each of the n + 1 gaps between the sorted values alike often.
        assert found.coverage == pytest.approx((high - low) / (count + 1))
        assert found.coverage >= share
        assert (high - low - 2) / (count + 1) < share


@pytest.mark.parametrize(("share", "few"), [(0.5, 3), (0.9, 19), (0.95, 39), (0.99, 199)])
def test_with_fewer_draws_there_is_none(share, few):
    assert fewest_draws(share) == few
    found = draw_interval(np.arange(few - 1.0), share)
    assert found.limits is None
    assert found.coverage == pytest.approx((few - 2) / few)
    assert found.coverage < share


def test_an_interval_is_of_each_place_by_itself():
    draws = np.random.default_rng(0).normal(size=(79, 3)) * [1, 10, 100]
    found = draw_interval(draws)
    ordered = np.sort(draws, axis=0)
    assert np.array_equal(found.limits, ordered[[1, -2]])
