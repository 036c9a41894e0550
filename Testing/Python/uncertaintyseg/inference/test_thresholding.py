"""Thresholds on foreground probabilities, and the labels they make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.thresholding import Threshold, threshold


def two_groups(low, high, share, *, spread=0.03, size=20000, seed=0):
    rng = np.random.default_rng(seed)
    mean = np.where(rng.random(size) < share, high, low)
    return np.clip(mean + spread * rng.standard_normal(size), 0, 1)


def between_class_variance(values, cut):
    below, above = values[values < cut], values[values >= cut]
    return len(below) * len(above) * (below.mean() - above.mean()) ** 2 if len(below) and len(above) else 0.0


@given(low=st.floats(0.05, 0.3), gap=st.floats(0.3, 0.6), share=st.floats(0.02, 0.98), seed=st.integers(0, 99))
def test_otsu_parts_two_groups_as_well_as_any_threshold(low, gap, share, seed):
    values = two_groups(low, low + gap, share, seed=seed)
    found = threshold(values)
    best = max(between_class_variance(values, cut) for cut in np.linspace(0, 1, 513)[1:-1])
    assert low < found < low + gap
    assert between_class_variance(values, found) >= best * (1 - 1e-3)


def test_otsu_cuts_through_the_middle_of_a_gap():
    assert threshold(np.array([0.1] * 5000 + [0.7] * 100)) == pytest.approx(0.4, abs=1 / 256)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(0),
        np.full(1000, 0.2),
        np.random.default_rng(0).uniform(size=50000),
        np.random.default_rng(0).exponential(0.02, 50000).clip(0, 1),
        np.random.default_rng(0).lognormal(-5, 1.5, 50000).clip(0, 1),
        np.random.default_rng(0).normal(0.3, 0.05, 50000).clip(0, 1),
        np.array([0.01] * 5000 + [0.03] * 5000),
        np.array([0.01] * 5000 + [0.6] * 2),
        two_groups(0.3, 0.55, 0.5, spread=0.08, size=100000),
    ],
    ids=["empty", "constant", "uniform", "noise", "heavy tail", "hump", "background", "two strays", "merged humps"],
)
def test_otsu_falls_back_to_one_half_where_there_are_no_two_groups(values):
    assert threshold(values, "otsu") == 0.5


def test_the_other_thresholds_are_what_they_are_called():
    values = np.random.default_rng(0).beta(0.5, 3, 1000)
    assert threshold(values, "percentile", 90) == pytest.approx(np.percentile(values, 90))
    assert threshold(values, "mean_std", 2) == pytest.approx(values.mean() + 2 * values.std())
    assert threshold(values, "mean_std", 50) == 1
    assert (threshold(values, "fixed"), threshold(values, "fixed", 0.3)) == (0.5, 0.3)
    assert threshold(np.zeros(0), "percentile") == threshold(np.zeros(0), "mean_std") == 0.5


def test_otsu_finds_what_an_underconfident_model_hints_at():
    foreground = np.full((8, 8, 8), 0.02)
    foreground[2:5, 2:5, 2:5] = 0.35
    assert np.array_equal(foreground > threshold(foreground), foreground == 0.35)


@pytest.mark.parametrize("bad", [np.nan, -0.2, 1.3])
def test_values_that_are_no_probabilities_are_refused(bad):
    foreground = np.full((3, 3, 3), 0.5)
    foreground[1, 1, 1] = bad
    with pytest.raises(InputError, match="NaN or outside 0 to 1"):
        threshold(foreground)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("yen", None, "'yen' does not exist; choose otsu"),
        ("otsu", 0.3, "takes no value"),
        ("percentile", 101, "from 0 to 100"),
        ("fixed", -0.1, "from 0 to 1;"),
        ("mean_std", np.nan, "nan"),
    ],
)
def test_methods_and_values_that_make_no_sense_are_refused(method, value, message):
    with pytest.raises(InputError, match=message):
        threshold(np.array([0.1, 0.9]), method, value)


@pytest.mark.parametrize(
    ("text", "wanted", "again"),
    [
        ("otsu", Threshold("otsu"), "otsu"),
        ("percentile=95", Threshold("percentile", 95), "percentile"),
        ("percentile=99.5", Threshold("percentile", 99.5), "percentile=99.5"),
        ("mean_std=-2", Threshold("mean_std", -2), "mean_std=-2.0"),
        ("0.4", Threshold("fixed", 0.4), "fixed=0.4"),
        ("left lung:.3", Threshold("fixed", 0.3, "left lung"), "left lung:fixed=0.3"),
        ("predictive_entropy:1.2", Threshold("fixed", 1.2, "predictive_entropy"), "predictive_entropy:fixed=1.2"),
        ("variance:otsu", Threshold("otsu", None, "variance"), "variance:otsu"),
    ],
)
def test_what_people_write_is_read_and_has_one_name(text, wanted, again):
    found = Threshold.read(text)
    assert (found.method, found.setting, found.of) == (wanted.method, wanted.setting, wanted.of)
    assert str(found) == again
    assert Threshold.read(again).setting == found.setting


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yen", "choose otsu"),
        ("percentile=x", "no number after '='"),
        ("otsu=1", "takes no value"),
        ("1.4", "from 0 to 1;"),
    ],
)
def test_what_people_write_wrongly_is_refused_with_the_way_out(text, message):
    with pytest.raises(InputError, match=message):
        Threshold.read(text)


@pytest.mark.parametrize("method", ["otsu", "percentile", "mean_std", "fixed"])
def test_a_map_in_nats_is_cut_as_its_share_of_the_range_would_be(method):
    values, top = two_groups(0.2, 0.7, 0.3), float(np.log(3))
    value = {"fixed": (0.4, 0.4 * top)}.get(method, (None, None))
    share, found = threshold(values, method, value[0]), Threshold(method, value[1], "predictive_entropy")
    assert found.find(values * top, top).value == pytest.approx(share * top)
    assert not found.find(values * top, top).fallback
    assert Threshold().find(np.full(9, 0.2), top) == (pytest.approx(0.5 * top), True)
