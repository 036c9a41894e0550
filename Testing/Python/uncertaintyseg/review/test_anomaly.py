"""Anomaly scores against counts, and expected ones against many drawn references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.overlap import dice
from uncertaintyseg.review.anomaly import anomaly_score, expected_anomaly, expected_mismatch, mismatch

MODES = ("xor_over_ref", "symmetric")
masks = arrays(bool, (3, 3, 2), elements=st.booleans())


def block(start: int) -> np.ndarray:
    mask = np.zeros((8, 4, 4), bool)
    mask[start : start + 3] = True
    return mask


@pytest.mark.parametrize("mode", MODES)
def test_the_golden_values(mode):
    """METHODS 13 (17)."""
    assert anomaly_score(block(0), block(0), mode) == 0
    assert anomaly_score(block(0), block(4), mode) == 2
    assert np.isnan(anomaly_score(block(0) & False, block(0) & False, mode))


def test_an_empty_reference_gives_no_score_unless_it_is_symmetric():
    assert np.isnan(anomaly_score(block(0), block(0) & False))
    assert anomaly_score(block(0), block(0) & False, "symmetric") == 2
    assert anomaly_score(block(0) & False, block(0)) == 1


@given(masks, masks)
def test_scores_are_counts(predicted, reference):
    wrong = np.abs(predicted.astype(int) - reference).sum()
    size = reference.sum()
    np.testing.assert_equal(anomaly_score(predicted, reference), wrong / size if size else float("nan"))
    np.testing.assert_allclose(anomaly_score(predicted, reference, "symmetric"), 2 * (1 - dice(predicted, reference)))
    assert mismatch(predicted, reference).sum() == wrong


def test_the_expected_score_is_the_mean_over_references():
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 0.3, (8, 7, 6))
    predicted = p > 0.5
    draws = [anomaly_score(rng.random(p.shape) < p, predicted) for _ in range(500)]
    assert expected_anomaly(predicted, p) == pytest.approx(np.mean(draws), abs=0.01)


def test_with_one_structure_the_heat_is_the_error_probability():
    p = np.random.default_rng(0).random((4, 4, 4))
    np.testing.assert_allclose(expected_mismatch(p > 0.5, p), 1 - np.maximum(p, 1 - p))


@pytest.mark.parametrize("mode", MODES)
def test_a_sure_model_expects_what_a_reference_would_say(mode):
    assert expected_anomaly(block(1), block(1).astype(float), mode) == 0
    assert expected_anomaly(block(1), block(2).astype(float), mode) == anomaly_score(block(1), block(2), mode)


def test_where_nothing_was_predicted_only_the_symmetric_score_says_something():
    nothing, p = np.zeros((4, 4, 4), bool), np.full((4, 4, 4), 0.25)
    assert np.isnan(expected_anomaly(nothing, p))
    assert expected_anomaly(nothing, p, "symmetric") == 2
    assert np.isnan(expected_anomaly(nothing, 0 * p, "symmetric"))


@pytest.mark.parametrize("score", [anomaly_score, expected_anomaly])
def test_other_grids_and_other_modes_are_refused(score):
    with pytest.raises(InputError, match="not on one grid"):
        score(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="no anomaly score 'nonsense'; there are xor_over_ref, symmetric"):
        score(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2)), "nonsense")
