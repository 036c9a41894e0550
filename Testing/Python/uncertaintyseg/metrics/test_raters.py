"""A model against the raters of a case, whole volumes of which are cut to what matters."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.raters import RaterScores, cut_to_foreground, rater_scores, summary

SHAPE = (7, 6, 5)
few = st.integers(1, 3).flatmap(lambda n: arrays(np.uint8, (n, *SHAPE), elements=st.sampled_from([0] * 12 + [1, 2])))


def case(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    labels = np.zeros((9, *SHAPE), np.uint8)
    labels[:, 2:6, 1:4, 1:4] = rng.integers(0, 3, (9, 4, 3, 3))
    maps = {name: rng.random(SHAPE).astype(np.float32) for name in ("variance", "predictive_entropy")}
    return {"samples": labels[:5], "raters": labels[5:], "maps": maps}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    ious = []
    for index in (1, 2):
        either = ((a == index) | (b == index)).sum()
        ious.append(((a == index) & (b == index)).sum() / either if either else 1.0)
    return 1 - float(np.mean(ious))


def mean_distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([distance(a, b) for a, b in product(one, other)]))


def scores(samples: np.ndarray, raters: np.ndarray, maps: dict, **intervals: tuple[float, float] | None) -> RaterScores:
    limits = {1: intervals.get("one"), 2: intervals.get("two")}
    return rater_scores(iter(samples), iter(raters), 3, maps, limits, voxel_ml=0.5)


def test_scores_agree_with_their_definitions_on_whole_volumes():
    data = case()
    volumes = np.array([[(rater == index).sum() * 0.5 for index in (1, 2)] for rater in data["raters"]])
    limits = {"one": (volumes[:, 0].min(), volumes[:, 0].max() - 0.25), "two": (0.0, 100.0)}
    found = scores(**data, **limits)
    own, theirs = (mean_distance(data[key], data[key]) for key in ("samples", "raters"))
    assert found.samples == 5
    assert found.diversity == pytest.approx(own)
    assert found.rater_diversity == pytest.approx(theirs)
    assert found.ged_squared == pytest.approx(2 * mean_distance(data["samples"], data["raters"]) - own - theirs)
    votes = np.stack([data["raters"] == index for index in range(3)], 1).astype(float)
    variance, n = votes.var(0, ddof=1).sum(0).ravel() / 2, np.prod(SHAPE)
    for value, name in ((found.ncc_variance, "variance"), (found.ncc_entropy, "predictive_entropy")):
        assert value == pytest.approx((n - 1) / n * np.corrcoef(data["maps"][name].ravel(), variance)[0, 1], abs=1e-6)
    held = (volumes[:, 0] < volumes[:, 0].max()).sum() + len(volumes)
    assert found.volume_95_coverage == pytest.approx(held / volumes.size)


def test_a_model_that_draws_what_the_raters_drew_is_perfect():
    data = case()
    found = scores(data["raters"], data["raters"], data["maps"])
    assert found.ged_squared == pytest.approx(0, abs=1e-12)
    assert found.diversity == found.rater_diversity > 0
    assert math.isnan(found.volume_95_coverage)


def test_a_single_label_without_variance_has_no_diversity_and_no_correlation():
    data = case()
    data["maps"]["variance"] *= 1e-7  # what rounding leaves of a variance of 0
    found = scores(data["samples"][:1], data["raters"], data["maps"])
    assert (found.samples, found.diversity) == (1, 0)
    assert math.isnan(found.ncc_variance)
    assert not math.isnan(found.ncc_entropy)


def test_where_nobody_sees_anything_there_is_no_distance():
    data, empty = case(), np.zeros((2, *SHAPE), np.uint8)
    found = scores(empty, empty, data["maps"], one=(0.0, 1.0))
    assert (found.ged_squared, found.diversity, found.rater_diversity, found.volume_95_coverage) == (0, 0, 0, 1)
    assert math.isnan(found.ncc_variance)


def test_what_cannot_be_compared_is_refused():
    data = case()
    with pytest.raises(InputError, match="needs two of them"):
        scores(data["samples"], data["raters"][:1], data["maps"])
    with pytest.raises(InputError, match="0 and 4 labels"):
        scores(data["samples"][:0], data["raters"], data["maps"])
    with pytest.raises(InputError, match="a label has shape"):
        scores(data["samples"][:, 1:], data["raters"], data["maps"])
    data["maps"]["variance"][0, 0, 0] = np.nan
    with pytest.raises(InputError, match="is NaN"):
        scores(**data)


@given(few, few)
def test_the_box_is_the_smallest_that_loses_nothing(one, other):
    box, (first, second) = cut_to_foreground(SHAPE, one, other)
    for whole, cut in ((one, first), (other, second)):
        np.testing.assert_array_equal(whole[(slice(None), *box)], cut)
        assert cut.astype(bool).sum() == whole.astype(bool).sum()
    hit = np.argwhere(np.concatenate([one, other]).any(0))
    wanted = [(0, 1)] * 3 if not len(hit) else list(zip(hit.min(0), hit.max(0) + 1, strict=True))
    assert [(part.start, part.stop) for part in box] == wanted


def test_cut_labels_do_not_hold_on_to_whole_ones():
    label = np.zeros(SHAPE, np.uint8)
    label[3, 3, 3] = 1
    _, (cut,) = cut_to_foreground(SHAPE, [label])
    label[3, 3, 3] = 2
    assert cut.tolist() == [[[[1]]]]


def test_a_summary_is_a_mean_over_cases_and_there_is_none_without_a_case():
    rows = [scores(**case(seed))._asdict() for seed in (0, 1)]
    found = summary(rows)
    assert found.keys() == {"n", *RaterScores._fields, "pairs"}
    assert (found["n"], found["samples"], found["pairs"]) == (2, 5, "all")
    assert found["ged_squared"]["mean"] == pytest.approx(np.mean([row["ged_squared"] for row in rows]))
    assert math.isnan(found["volume_95_coverage"]["mean"])
    assert summary([]) is None
