"""Samples and variances against raters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics import ambiguity
from uncertaintyseg.metrics import arrays as arrays_module
from uncertaintyseg.metrics.ambiguity import (
    diversity,
    ged_squared,
    interval_coverage,
    iou_distances,
    normalised_cross_correlation,
    rater_variance,
)

few = st.integers(1, 4).flatmap(lambda n: arrays(np.uint8, (n, 3, 2, 2), elements=st.integers(0, 2)))


def distance(a: np.ndarray, b: np.ndarray, classes: int) -> float:
    ious = []
    for index in range(1, classes):
        either = ((a == index) | (b == index)).sum()
        ious.append(((a == index) & (b == index)).sum() / either if either else 1.0)
    return 1 - float(np.mean(ious))


@given(few, few)
def test_distances_agree_with_a_loop_over_pairs(one, other):
    wanted = [[distance(a, b, 3) for b in other] for a in one]
    np.testing.assert_allclose(iou_distances(one, other, 3), wanted, atol=1e-12)


@given(few, few)
def test_ged_agrees_with_its_definition_and_is_never_negative_over_the_full_matrix(samples, raters):
    cross, own, theirs = (iou_distances(a, b, 3) for a, b in ((samples, raters), (samples, samples), (raters, raters)))
    assert ged_squared(samples, raters, 3) == pytest.approx(2 * cross.mean() - own.mean() - theirs.mean(), abs=1e-12)
    assert ged_squared(samples, raters, 3) >= -1e-12
    assert ged_squared(raters, raters, 3) == pytest.approx(0, abs=1e-12)


def test_distinct_pairs_leave_a_label_and_itself_out():
    samples = np.zeros((3, 4, 1, 1), int)
    samples[1, :2], samples[2, :1] = 1, 1
    distances = [distance(samples[i], samples[j], 2) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert diversity(samples, 2, "distinct") == pytest.approx(np.mean(distances))
    assert diversity(samples, 2) == pytest.approx(np.mean(distances) * 6 / 9)
    rater = samples[:1]
    wanted = 2 * np.mean([0, distances[0], distances[1]]) - np.mean(distances)
    assert ged_squared(samples, rater, 2, "distinct") == pytest.approx(wanted)


def test_a_single_sample_has_no_diversity():
    for pairs in ("all", "distinct"):
        assert diversity(np.ones((1, 2, 2, 2), int), 2, pairs) == 0


def test_a_structure_that_nobody_sees_is_agreed_on():
    nobody, somebody = np.zeros((1, 4, 4, 4), int), np.ones((1, 4, 4, 4), int)
    assert iou_distances(nobody, nobody, 3).item() == 0
    assert iou_distances(nobody, somebody, 2).item() == 1
    assert iou_distances(nobody, somebody, 3).item() == 0.5


def test_blocks_do_not_change_the_distances(monkeypatch):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 5, 5))
    whole = iou_distances(labels, labels, 3)
    monkeypatch.setattr(ambiguity, "BLOCK", 60)
    np.testing.assert_array_equal(iou_distances(labels, labels, 3), whole)


def test_labels_that_do_not_fit_are_refused():
    labels = np.ones((2, 3, 3, 3), int)
    with pytest.raises(InputError, match="one grid"):
        iou_distances(labels, labels[:, 1:], 2)
    with pytest.raises(InputError, match="two classes"):
        iou_distances(labels, labels, 1)
    with pytest.raises(InputError, match="class above 1"):
        iou_distances(labels, labels * 2, 2)
    with pytest.raises(InputError, match="0 and 2 labels"):
        ged_squared(labels[:0], labels, 2)


def test_the_variance_of_raters_is_that_of_their_votes():
    raters = np.random.default_rng(0).integers(0, 3, (5, 4, 3, 2))
    votes = np.stack([raters == index for index in range(3)], 1).astype(float)
    np.testing.assert_allclose(rater_variance(raters, 3), votes.var(0, ddof=1).sum(0) / 2, atol=1e-12)
    with pytest.raises(InputError, match="needs two"):
        rater_variance(raters[:1], 3)


def test_the_correlation_is_pearsons_but_for_the_count():
    rng = np.random.default_rng(1)
    one = rng.random((6, 5, 4)).astype(np.float32)
    other = one + rng.random((6, 5, 4))
    n = one.size
    assert normalised_cross_correlation(one, other) == pytest.approx(
        (n - 1) / n * np.corrcoef(one.ravel(), other.ravel())[0, 1]
    )
    assert normalised_cross_correlation(3 * one + 1, other) == pytest.approx(normalised_cross_correlation(one, other))
    assert normalised_cross_correlation(one, -one) == pytest.approx(-(n - 1) / n)


def test_blocks_do_not_change_the_correlation(monkeypatch):
    one, other = np.random.default_rng(1).random((2, 6, 5, 4)).astype(np.float32)
    whole = normalised_cross_correlation(one, other)
    monkeypatch.setattr(ambiguity, "blocks", lambda size: arrays_module.blocks(size, 7))
    assert normalised_cross_correlation(one, other) == pytest.approx(whole, abs=1e-12)


def test_a_constant_map_has_no_correlation_and_a_broken_one_is_refused():
    one = np.random.default_rng(1).random((3, 3, 3))
    assert math.isnan(normalised_cross_correlation(np.full_like(one, 0.1), one))
    assert math.isnan(normalised_cross_correlation(one, np.zeros_like(one)))
    with pytest.raises(InputError, match="is NaN"):
        normalised_cross_correlation(np.full_like(one, np.nan), one)
    with pytest.raises(InputError, match="one grid"):
        normalised_cross_correlation(one, one[1:])


def test_intervals_are_judged_by_every_rater_and_structure_that_has_one():
    volumes = np.array([[1.0, 5.0, 2.0], [2.0, 9.0, 2.0]])
    assert interval_coverage([(1.0, 2.0), (4.0, 6.0), None], volumes) == pytest.approx(0.75)
    assert math.isnan(interval_coverage([None, None, None], volumes))
    with pytest.raises(InputError, match="list of intervals"):
        interval_coverage([(0.0, 1.0)], volumes)
