"""Promises: kept over many draws with known truth and over resplits of real cases, and refused out of reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from Testing.Python.uncertaintyseg.review.curves import THRESHOLDS, beta_losses, calibration_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.review.promise import (
    OutOfReachError,
    cases_needed,
    crc_threshold,
    guarantee,
    hoeffding_bentkus,
    promised,
    rcps_threshold,
    reachable,
)

DRAWS = 2000
MEAN = 1 / 6


def left(losses: np.ndarray, index: int | None) -> np.ndarray:
    """What stays wrong in each case; nothing where everything has to be reviewed."""
    return np.zeros(len(losses)) if index is None else losses[:, index]


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.6), (5, 0.2), (20, 0.05), (20, 0.1), (40, 0.05)])
def test_the_average_loss_of_a_further_case_is_within_the_promise(n, alpha):
    rng = np.random.default_rng(n)
    draws = beta_losses(rng, DRAWS, n + 1)
    losses = np.array([left(cases[n:], crc_threshold(cases[:n], alpha))[0] for cases in draws])
    assert losses.mean() <= alpha + 3 * losses.std() / np.sqrt(DRAWS)


def test_the_average_promise_is_not_wasteful():
    rng = np.random.default_rng(0)
    taken = [THRESHOLDS[crc_threshold(beta_losses(rng, 200), 0.1)] for _ in range(200)]
    assert 0.07 < MEAN * np.mean(taken) <= 0.1


@pytest.mark.parametrize(("n", "alpha", "delta"), [(1, 0.95, 0.1), (20, 0.15, 0.1), (40, 0.1, 0.1), (40, 0.1, 0.3)])
def test_the_true_risk_exceeds_a_promise_with_confidence_seldom_enough(n, alpha, delta):
    draws = beta_losses(np.random.default_rng(n), DRAWS, n)
    chosen = [rcps_threshold(losses, alpha, delta) for losses in draws]
    risk = np.array([0.0 if index is None else MEAN * THRESHOLDS[index] for index in chosen])
    assert (risk > alpha).mean() <= delta + 3 * np.sqrt(delta * (1 - delta) / DRAWS)


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("truth", [0.02, 0.1, 0.5, 0.9])
def test_the_p_value_is_valid_for_losses_of_nought_and_one_by_exact_enumeration(n, truth):
    successes = np.arange(n + 1)
    p = hoeffding_bentkus(successes / n, n, truth)
    for delta in (0.01, 0.1, 0.5):
        assert binom.pmf(successes[p <= delta], n, truth).sum() <= delta + 1e-12


@given(st.integers(1, 60), st.floats(0.01, 0.9), st.floats(0.01, 0.5), st.integers(0, 10))
def test_more_is_allowed_and_less_confidence_asked_never_means_more_review(n, alpha, delta, seed):
    losses = beta_losses(np.random.default_rng(seed), n)
    for choose in (lambda a: crc_threshold(losses, a), lambda a: rcps_threshold(losses, a, delta)):
        strict, lax = (-1 if index is None else index for index in (choose(alpha), choose(alpha + 0.05)))
        assert strict <= lax
    sure = rcps_threshold(losses, alpha, delta / 2)
    assert (-1 if sure is None else sure) <= (rcps_threshold(losses, alpha, delta) or 0)


@pytest.mark.parametrize("n", [1, 12, 40])
@pytest.mark.parametrize("delta", [None, 0.1])
def test_without_any_loss_exactly_what_is_reachable_is_promised(n, delta):
    flawless, least = calibration_of(np.zeros((n, 101))), reachable(n, delta)
    promise = guarantee(flawless, least, delta)
    assert (promise.threshold, promise.cases, promise.kind) == (1, n, "crc" if delta is None else "rcps")
    with pytest.raises(OutOfReachError, match=f"cannot be promised with {n} calibration cases"):
        guarantee(flawless, least * 0.99, delta)
    assert reachable(40) == pytest.approx(0.024, abs=5e-4)
    assert reachable(40, 0.1) == pytest.approx(0.056, abs=5e-4)


@pytest.mark.parametrize("delta", [None, 0.3, 0.1, 0.01, 1e-6])
@pytest.mark.parametrize("alpha", [0.001, 0.02, 0.05, 1 / 3, 0.5])
def test_so_many_cases_as_are_said_to_be_needed_are_enough_and_one_less_is_not(alpha, delta):
    n = int(cases_needed(alpha, delta))
    assert guarantee(calibration_of(np.zeros((n, 101))), alpha, delta).threshold == 1
    if n > 1:
        with pytest.raises(OutOfReachError, match=f"with {n - 1} calibration cases: it would take {n} or more"):
            guarantee(calibration_of(np.zeros((n - 1, 101))), alpha, delta)


@pytest.mark.parametrize("delta", [None, 0.1])
def test_where_everything_is_wrong_only_a_review_of_everything_helps(delta):
    hopeless = calibration_of(np.ones((40, 101)))
    with pytest.raises(OutOfReachError, match="only if the whole scan were reviewed"):
        guarantee(hopeless, 0.2, delta)


def test_a_promise_says_in_one_sentence_what_it_promises_and_for_whom():
    promise = guarantee(calibration_of(beta_losses(np.random.default_rng(0), 40)), 0.1)
    assert promise.text == (
        f"If every voxel with an error probability above {100 * promise.threshold:.3g} % is reviewed and corrected, "
        "what stays wrong is on average at most 10 % of the true volume, for cases like the 40 of made up."
    )
    sure = guarantee(calibration_of(beta_losses(np.random.default_rng(0), 40)), 0.15, 0.1)
    assert "with 90 % confidence at most 15 % of" in sure.text.replace(",", "")
    assert sure.threshold < 1
    assert "with 99.99 % confidence" in guarantee(calibration_of(np.zeros((400, 101))), 0.1234567, 1e-4).text
    assert "at most 12.34567 % of" in guarantee(calibration_of(np.zeros((400, 101))), 0.1234567, 1e-4).text


@pytest.mark.parametrize(
    ("alpha", "delta"), [(0, None), (1, None), (-0.1, None), (0.1, 0), (0.1, 1.5), (np.nan, None), (0.1, np.nan)]
)
def test_bounds_are_shares(alpha, delta):
    with pytest.raises(InputError, match="not between 0 and 1"):
        guarantee(calibration_of(np.zeros((20, 101))), alpha, delta)


def test_a_result_has_the_default_promise_or_the_reason_why_not():
    good, few = (calibration_of(beta_losses(np.random.default_rng(0), n) / 10) for n in (40, 12))
    assert promised(good, None)[0].alpha == 0.05
    assert promised(few, None) == (None, promised(few, None)[1])
    assert "12 calibration cases" in promised(few, None)[1]
    assert promised(None, "uncalibrated: why") == (None, "uncalibrated: why")


@pytest.mark.parametrize("name", ["hippocampus_low_rank", "hippocampus_deterministic", "phantom_low_rank"])
def test_promises_hold_over_resplits_of_the_shipped_calibration_cases(name):
    losses = find_bundle(name).calibration[0].losses
    rng, n, alpha = np.random.default_rng(0), len(losses) // 2, 0.06
    kept = []
    for _ in range(500):
        order = rng.permutation(len(losses))
        kept.append(left(losses[order[n:]], crc_threshold(losses[order[:n]], alpha)).mean())
    assert np.mean(kept) <= alpha
