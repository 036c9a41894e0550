"""The risk-coverage curve of a case against counting, threshold by threshold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from Testing.Python.uncertaintyseg.review.curves import beta_losses, calibration_of
from uncertaintyseg.review.coverage import STEPS, UNCALIBRATED, review_curve


@pytest.fixture
def calibration():
    return calibration_of(beta_losses(np.random.default_rng(0), 30))


def test_a_point_says_what_there_is_to_review_here_and_what_stays_wrong_there(calibration):
    error = ndimage.gaussian_filter(np.random.default_rng(0).random((20, 18, 12)), 1).astype(np.float32)
    points = review_curve(error, 0.5, calibration)
    assert 3 <= len(points) <= STEPS + 1
    for point in points:
        above = error > point.threshold
        assert point.coverage == pytest.approx(1 - above.mean(), abs=1e-6)
        assert point.reviewed_ml == pytest.approx(0.5 * above.sum())
        assert point.regions == ndimage.label(above)[1]
        column = calibration.losses[:, calibration.thresholds.index(point.threshold)]
        assert point.expected_error == pytest.approx(column.mean(), abs=1e-6)
        assert point.lo <= point.expected_error <= point.hi
    assert (points[-1].threshold, points[-1].reviewed_ml, points[-1].regions) == (1, 0, 0)


def test_more_review_never_leaves_more(calibration):
    points = review_curve(np.random.default_rng(1).random((9, 9, 9)), 1.0, calibration)
    for first, second in pairwise(points):
        assert first.threshold < second.threshold
        assert first.reviewed_ml >= second.reviewed_ml
        assert first.expected_error <= second.expected_error


def test_a_threshold_that_was_asked_for_is_on_the_curve(calibration):
    wanted = calibration.thresholds[13]
    assert wanted in [point.threshold for point in review_curve(np.zeros((4, 4, 4)), 1.0, calibration, also=wanted)]


def test_a_scan_without_doubt_needs_no_review_and_what_was_not_seen_does_not_count(calibration):
    assert {point.coverage for point in review_curve(np.zeros((4, 4, 4)), 1.0, calibration)} == {1}
    error = np.zeros((4, 4, 4))
    error[:2] = 0.9
    seen = np.zeros(error.shape, bool)
    seen[:2] = True
    assert review_curve(error, 1.0, calibration, valid=seen)[0].coverage == 0


def test_without_a_calibration_the_thresholds_are_even_and_nothing_is_said_of_what_stays_wrong():
    error = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    points = review_curve(error, 2.0, None)
    assert [point.threshold for point in points] == list(UNCALIBRATED)
    for point in points:
        above = error > point.threshold
        assert (point.reviewed_ml, point.regions) == (2 * above.sum(), ndimage.label(above)[1])
        assert (point.expected_error, point.lo, point.hi) == (None, None, None)
    assert points[-1].coverage == 1
