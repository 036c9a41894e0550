"""Calibration of voxel probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.calibration import (
    BINS,
    Calibration,
    Reliability,
    brier_score,
    certainty,
    negative_log_likelihood,
)


def calibrated(confidence: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes whose labels come true as often as their probability says."""
    p = np.stack([1 - confidence, confidence])
    return p, (rng.random(confidence.shape) < confidence).astype(np.int64)


def of(*cases: tuple[np.ndarray, np.ndarray]) -> Calibration:
    calibration = Calibration([f"structure {i}" for i in range(1, len(cases[0][0]))])
    for case in cases:
        calibration.update(*case)
    return calibration


def error_of(*cases: tuple[np.ndarray, np.ndarray]) -> float:
    return of(*cases).top_label.expected_error()


def three_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet([1, 1, 1], (20, 20, 5)).transpose(3, 0, 1, 2), rng.integers(0, 3, (20, 20, 5))


def gaps(confidence: np.ndarray, hit: np.ndarray) -> list[tuple[float, float]]:
    """Share and |frequency - confidence| of each bin that holds a voxel, by a loop."""
    found = []
    for low in np.arange(BINS) / BINS:
        inside = (confidence > low) & (confidence <= low + 1 / BINS)
        if inside.any():
            found.append((inside.mean(), abs(hit[inside].mean() - confidence[inside].mean())))
    return found


def test_fifteen_bins_are_the_standard():
    assert BINS == 15


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    found = of(calibrated(rng.random((100, 100, 20)), rng))
    for reliability in (found.top_label, found.events["structure 1"]):
        assert reliability.expected_error() < 0.005
        assert reliability.adaptive_error() < 0.005
        assert reliability.maximum_error() < 0.02


def test_the_error_of_overconfidence_is_its_excess():
    p = np.full((2, 1000, 1, 1), 0.1)
    p[1] = 0.9
    reference = (np.arange(1000) < 700).astype(int).reshape(1000, 1, 1)
    for reliability in (of((p, reference)).top_label, of((p, reference)).events["structure 1"]):
        assert reliability.expected_error() == pytest.approx(0.2)
        assert reliability.maximum_error() == pytest.approx(0.2)
        assert reliability.adaptive_error() == pytest.approx(0.2)


def test_errors_agree_with_a_loop_over_bins():
    p, reference = three_classes(1)
    found = of((p, reference))
    pairs = {"top": (found.top_label, p.max(0), p.argmax(0) == reference)}
    pairs |= {i: (found.events[f"structure {i}"], p[i], reference == i) for i in (1, 2)}
    for reliability, confidence, hit in pairs.values():
        wanted = gaps(confidence, hit)
        assert reliability.expected_error() == pytest.approx(sum(share * gap for share, gap in wanted))
        assert reliability.maximum_error() == pytest.approx(max(gap for _, gap in wanted))


def test_a_background_that_is_right_at_a_low_probability_has_no_error():
    """The foreground ECE of METHODS 5.2 would be 0.998 here (A43)."""
    p = np.stack([np.full((1000, 1, 1), 0.999), np.full((1000, 1, 1), 0.001)])
    reference = np.zeros((1000, 1, 1), int)
    reference[0] = 1
    assert of((p, reference)).events["structure 1"].expected_error() == pytest.approx(0, abs=1e-12)


def test_a_structure_that_is_always_missed_shows_in_its_event():
    p = np.stack([np.full((100, 1, 1), 0.8), np.full((100, 1, 1), 0.2), np.zeros((100, 1, 1))])
    reference = np.where(np.arange(100) < 80, 0, 2).reshape(100, 1, 1)
    found = of((p, reference))
    assert found.top_label.expected_error() == pytest.approx(0)
    assert found.events["structure 1"].expected_error() == pytest.approx(0.2)
    assert found.events["structure 2"].expected_error() == pytest.approx(0.2)


@pytest.mark.parametrize("power", [1, 8, 60])
def test_the_adaptive_error_agrees_with_a_sort_of_all_voxels(power):
    """Powers crowd the confidence near 0, where most fine bins are empty and few are cut."""
    rng = np.random.default_rng(3)
    confidence = rng.random(15 * 2000) ** power
    hit = rng.random(confidence.size) < np.sqrt(confidence)
    reliability = Reliability()
    for part in np.split(np.arange(confidence.size), 10):
        reliability.update(confidence[part], hit[part])
    excess = (hit - confidence)[np.argsort(confidence)].reshape(BINS, -1)
    wanted = np.abs(excess.mean(1)).mean()
    fine = np.ceil(confidence * 1024 * BINS).astype(int)
    cut = np.unique(fine[np.argsort(confidence)[2000::2000]])
    bound = 2 * sum((np.abs(hit - confidence) * (fine == b)).mean() for b in cut)
    assert abs(reliability.adaptive_error() - wanted) <= bound
    assert reliability.adaptive_error() == pytest.approx(wanted, abs=0.01)


def test_bins_of_equal_mass_share_out_voxels_that_say_the_same():
    reliability = Reliability()
    reliability.update(np.full(10, 0.5), np.arange(10) < 8)
    assert reliability.adaptive_error() == pytest.approx(0.3)


def test_the_curve_is_confidence_frequency_and_share_of_each_bin():
    reliability = Reliability(5)
    reliability.update(np.array([0.1, 0.2, 0.9]), np.array([False, True, True]))
    nan = math.nan
    assert reliability.curve() == {
        "confidence": pytest.approx([0.15, nan, nan, nan, 0.9], nan_ok=True),
        "frequency": pytest.approx([0.5, nan, nan, nan, 1], nan_ok=True),
        "share": pytest.approx([2 / 3, 0, 0, 0, 1 / 3]),
    }


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
    reliability = Calibration(["organ"]).top_label
    for error in (reliability.expected_error(), reliability.maximum_error(), reliability.adaptive_error()):
        assert math.isnan(error)


def test_the_likelihood_is_the_mean_over_voxels_and_never_infinite():
    p = np.array([[0.2, 1.0], [0.8, 0.0]]).reshape(2, 2, 1, 1)
    assert negative_log_likelihood(p, np.array([1, 0]).reshape(2, 1, 1)) == pytest.approx(-math.log(0.8) / 2)
    assert negative_log_likelihood(p, np.array([1, 1]).reshape(2, 1, 1)) == pytest.approx(
        (-math.log(0.8) - math.log(1e-12)) / 2
    )


def test_the_brier_score_is_the_squared_distance_from_the_truth():
    p, reference = three_classes(4)
    truth = np.moveaxis(np.eye(3)[reference], -1, 0)
    assert brier_score(p, reference) == pytest.approx(((p - truth) ** 2).sum(0).mean())
    assert brier_score(truth, reference) == pytest.approx(0)
    assert brier_score(truth, (reference + 1) % 3) == pytest.approx(2)
    # A model of one class can only be right.
    assert brier_score(np.ones((1, 2, 2, 2)), np.zeros((2, 2, 2), int)) == 0


@given(st.integers(2, 12), st.floats(0, 1))
def test_certainty_runs_from_the_uniform_entropy_to_none(classes, share):
    entropy = np.full((3, 3, 3), share * math.log(classes))
    assert certainty(entropy, np.ones((3, 3, 3), bool), classes) == pytest.approx(1 - share)


def test_certainty_looks_at_the_reference_only_and_is_clipped():
    entropy, foreground = np.array([0, math.log(2), 5.0, 0.3]), np.array([True, True, True, False])
    assert certainty(entropy, foreground, 2) == pytest.approx(1 / 3)
    assert math.isnan(certainty(entropy, np.zeros(4, bool), 2))
    with pytest.raises(InputError, match="two classes at least"):
        certainty(entropy, foreground, 1)
    with pytest.raises(InputError, match="entropy is NaN"):
        certainty(np.full(4, np.nan), foreground, 2)


@pytest.mark.parametrize("measure", [negative_log_likelihood, brier_score, Calibration(["a", "b"]).update])
def test_probabilities_that_do_not_fit_the_reference_are_refused(measure):
    p, reference = three_classes(5)
    with pytest.raises(InputError, match="one grid"):
        measure(p[:, 1:], reference)
    with pytest.raises(InputError, match="class ids 0 to 3"):
        measure(p, np.where(np.arange(5) == 2, 3, reference))
    with pytest.raises(InputError, match="a probability is NaN"):
        measure(np.where(reference == 1, np.nan, p), reference)


def test_a_wrong_number_of_classes_is_refused():
    with pytest.raises(InputError, match="3 classes, wanted 2"):
        Calibration(["organ"]).update(*three_classes(6))
