"""Calibration of voxel probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from uncertaintyseg.metrics.calibration import BINS, CalibrationError, negative_log_likelihood


def calibrated(confidence: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes whose labels come true as often as their probability says."""
    p = np.stack([1 - confidence, confidence])
    return p, (rng.random(confidence.shape) < confidence).astype(np.int64)


def error_of(*cases: tuple[np.ndarray, np.ndarray], bins: int = BINS) -> float:
    calibration = CalibrationError(bins)
    for case in cases:
        calibration.update(*case)
    return calibration.compute()


def test_fifteen_bins_are_the_standard():
    assert BINS == 15


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    assert error_of(calibrated(rng.random((100, 100, 20)), rng)) < 0.005


def test_the_error_of_overconfidence_is_its_excess():
    p = np.full((2, 1000, 1, 1), 0.1)
    p[1] = 0.9
    reference = (np.arange(1000) < 700).astype(int).reshape(1000, 1, 1)
    assert error_of((p, reference)) == pytest.approx(0.2)


def test_the_error_agrees_with_a_loop_over_bins():
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], (20, 20, 5)).transpose(3, 0, 1, 2)
    reference = rng.integers(0, 3, (20, 20, 5))
    confidence, right, wanted = p.max(0), p.argmax(0) == reference, 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence > low) & (confidence <= low + 1 / BINS)
        if inside.any():
            wanted += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert error_of((p, reference)) == pytest.approx(wanted)


def test_cases_are_pooled_by_voxel():
    rng = np.random.default_rng(2)
    one, other = calibrated(rng.random((30, 10, 3)), rng), calibrated(rng.random((8, 9, 3)) ** 3, rng)
    pooled = (
        np.concatenate([c[0].reshape(2, -1) for c in (one, other)], 1),
        np.concatenate([c[1].ravel() for c in (one, other)]),
    )
    assert error_of(one, other) == pytest.approx(error_of(pooled))


def test_certain_probabilities_fall_into_the_last_bin():
    p = np.zeros((2, 4, 1, 1))
    p[1] = 1
    assert error_of((p, np.ones((4, 1, 1), int))) == 0
    assert error_of((p, np.zeros((4, 1, 1), int))) == 1


def test_without_cases_there_is_no_error():
    assert math.isnan(CalibrationError().compute())


def test_the_likelihood_is_the_mean_over_voxels_and_never_infinite():
    p = np.array([[0.2, 1.0], [0.8, 0.0]]).reshape(2, 2, 1, 1)
    assert negative_log_likelihood(p, np.array([1, 0]).reshape(2, 1, 1)) == pytest.approx(-math.log(0.8) / 2)
    assert negative_log_likelihood(p, np.array([1, 1]).reshape(2, 1, 1)) == pytest.approx(
        (-math.log(0.8) - math.log(1e-12)) / 2
    )
