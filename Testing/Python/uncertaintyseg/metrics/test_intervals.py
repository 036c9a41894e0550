"""Means over cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.metrics.intervals import mean_of_defined, mean_with_interval


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


def test_cases_without_the_structure_are_left_out():
    nan = float("nan")
    assert mean_with_interval([0.5, nan, 0.7]).mean == pytest.approx(0.6)
    assert mean_with_interval([0.5, nan]) == (0.5, 0.5, 0.5)
    assert mean_with_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert mean_of_defined([0.5, nan, 0.7]) == pytest.approx(0.6)
    for values in ([], [nan, nan]):
        assert all(math.isnan(value) for value in (*mean_with_interval(values), mean_of_defined(values)))
