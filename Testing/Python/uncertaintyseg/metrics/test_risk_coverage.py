"""Areas under risk-coverage curves."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from uncertaintyseg.metrics.risk_coverage import Ranking, augrc, aurc, e_aurc, ranking

items = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=30)


def areas(loss: np.ndarray) -> tuple[float, float]:
    """AURC and AUGRC of losses in the order of growing risk, by their definitions."""
    kept = np.cumsum(loss)
    n = loss.size
    return (kept / np.arange(1, n + 1)).mean(), trapezoid(np.r_[0, kept] / n, dx=1 / n)


def test_areas_agree_with_their_definitions():
    rng = np.random.default_rng(0)
    risk, loss = rng.random(500), rng.random(500)
    found = ranking(risk, loss)
    assert (aurc(found), augrc(found)) == pytest.approx(areas(loss[np.argsort(risk)]))
    assert e_aurc(found, ranking(loss, loss)) == pytest.approx(aurc(found) - areas(np.sort(loss))[0])


def test_ties_are_the_mean_over_their_orders():
    risk, loss = np.array([2, 1, 2, 0, 2, 1]), np.array([1.0, 0.0, 0.3, 0.1, 0.0, 1.0])
    orders = [order for order in permutations(range(6)) if np.all(np.diff(risk[list(order)]) >= 0)]
    wanted = np.mean([areas(loss[list(order)]) for order in orders], axis=0)
    found = ranking(risk, loss)
    assert (aurc(found), augrc(found)) == pytest.approx(wanted)


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
def test_perfect_and_random_rankings_are_known(rate):
    """METHODS 13, golden test 18."""
    n = 100_000
    wrong = np.arange(n) < rate * n
    perfect = aurc(ranking(wrong, wrong))
    assert perfect == pytest.approx(rate + (1 - rate) * math.log(1 - rate), abs=1e-4)
    shuffled = np.random.default_rng(0).permutation(n)
    assert aurc(ranking(shuffled, wrong)) == pytest.approx(rate, rel=0.1)
    # The same risk everywhere is every order at once.
    assert aurc(ranking(np.zeros(n), wrong)) == pytest.approx(rate)
    assert augrc(ranking(np.zeros(n), wrong)) == pytest.approx(rate / 2)
    assert augrc(ranking(wrong, wrong)) == pytest.approx(rate**2 / 2)


@given(items)
def test_no_order_beats_the_one_by_loss_and_none_is_worse_than_its_reverse(pairs):
    risk, loss = (np.array(column) for column in zip(*pairs, strict=True))
    found, best, worst = ranking(risk, loss), ranking(loss, loss), ranking(-loss, loss)
    for area in (aurc, augrc):
        assert area(best) - 1e-12 <= area(found) <= area(worst) + 1e-12
    assert 0 <= aurc(found) <= loss.max() + 1e-12


@given(items)
def test_only_the_order_of_the_risks_counts(pairs):
    risk, loss = (np.array(column) for column in zip(*pairs, strict=True))
    for area in (aurc, augrc):
        assert area(ranking(np.exp(risk) - 5, loss)) == area(ranking(risk, loss))


def test_nothing_at_all_has_no_area():
    empty = ranking(np.zeros(0), np.zeros(0))
    assert math.isnan(aurc(empty))
    assert math.isnan(augrc(empty))
    assert math.isnan(augrc(Ranking(np.zeros(3), np.zeros(3))))


def test_a_risk_that_nothing_has_changes_nothing():
    count, loss = np.array([3, 0, 2, 0]), np.array([1, 0, 2, 0])
    for area in (aurc, augrc):
        assert area(Ranking(count, loss)) == pytest.approx(area(Ranking(count[::2], loss[::2])))
