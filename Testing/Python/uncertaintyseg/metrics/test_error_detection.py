"""Voxel error detection by risk maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics import error_detection
from uncertaintyseg.metrics.arrays import blocks
from uncertaintyseg.metrics.error_detection import ErrorDetection, best_map, detection, detections, rank_errors
from uncertaintyseg.metrics.risk_coverage import augrc, aurc, ranking

EVERY = {"all": None}
risks = arrays(np.float32, 40, elements=st.sampled_from([-0.5, 0.0, 0.125, 0.25, 0.375, 0.875, 7.0]))
errors = arrays(bool, 40)


def of(risk: np.ndarray, error: np.ndarray):
    return detections(risk, error, EVERY)["all"]


def case(seed: int, shape=(20, 15, 10)) -> tuple[np.ndarray, np.ndarray]:
    """A risk with some ties that knows something of the errors."""
    rng = np.random.default_rng(seed)
    error = rng.random(shape) < 0.05
    return np.round(rng.random(shape) ** 4 + 0.3 * error * rng.random(shape), 3).astype(np.float32), error


def fpr95(error: np.ndarray, risk: np.ndarray) -> float:
    false, true, _ = roc_curve(error, risk, drop_intermediate=False)
    return float(false[np.argmax(true >= 0.95)])


@given(risks, errors)
def test_measures_agree_with_scikit_learn(risk, error):
    assume(0 < error.sum() < error.size)
    found = of(risk, error)
    assert found.auroc == pytest.approx(roc_auc_score(error, risk))
    assert found.ap == pytest.approx(average_precision_score(error, risk))
    assert found.fpr95 == pytest.approx(fpr95(error, risk))


@given(risks, errors)
def test_areas_are_those_of_all_voxels_one_by_one(risk, error):
    """`rank_errors` takes voxels together that no error lies between."""
    wanted, best = ranking(risk, error), ranking(error, error)
    found = of(risk, error)
    assert found.aurc == pytest.approx(aurc(wanted))
    assert found.e_aurc == pytest.approx(aurc(wanted) - aurc(best))
    assert found.augrc == pytest.approx(augrc(wanted))


@given(risks, errors)
def test_augrc_follows_from_auroc_and_the_error_rate(risk, error):
    assume(0 < error.sum() < error.size)
    found, rate = of(risk, error), error.mean()
    assert found.augrc == pytest.approx((1 - found.auroc) * rate * (1 - rate) + rate**2 / 2)


@given(risks, errors)
def test_only_the_order_of_the_risks_counts(risk, error):
    assert tuple(of(np.exp(risk), error)) == pytest.approx(tuple(of(risk, error)), nan_ok=True)


def test_perfect_random_and_reversed_maps():
    """METHODS 13, golden test 18."""
    _, error = case(0, (50, 40, 30))
    rate = error.mean()
    perfect, constant, reversed_ = (
        of(error.astype(float), error),
        of(np.zeros(error.shape), error),
        of(-1.0 * error, error),
    )
    assert perfect[:3] == (1, 1, 0)
    assert perfect.aurc == pytest.approx(rate + (1 - rate) * math.log(1 - rate), abs=1e-5)
    assert perfect.e_aurc == pytest.approx(0)
    assert constant[:3] == pytest.approx((0.5, rate, 1))
    assert constant.aurc == pytest.approx(rate)
    assert reversed_[0] == 0
    noise = of(np.random.default_rng(1).random(error.shape), error)
    assert noise.auroc == pytest.approx(0.5, abs=0.02)
    assert noise.aurc == pytest.approx(rate, rel=0.05)


def test_without_errors_or_without_correct_voxels_some_measures_are_undefined():
    risk = case(0)[0]
    none, every = of(risk, np.zeros(risk.shape, bool)), of(risk, np.ones(risk.shape, bool))
    assert [math.isnan(value) for value in none] == [True] * 3 + [False] * 3
    assert none[3:] == (0, 0, 0)
    assert [math.isnan(value) for value in every] == [True, False, True] + [False] * 3
    assert (every.ap, every.aurc, every.e_aurc, every.augrc) == pytest.approx((1, 1, 0, 0.5))
    empty = detections(risk, risk > 0.5, {"nowhere": np.zeros(risk.shape, bool)})["nowhere"]
    assert all(math.isnan(value) for value in empty)


def test_a_scope_is_the_volume_without_all_else():
    risk, error = case(2)
    inside = np.random.default_rng(0).random(risk.shape) < 0.3
    found = detections(risk, error, {"all": None, "some": inside, "every": np.ones_like(inside)})
    assert found["all"] == found["every"]
    assert found["some"] == of(risk[inside], error[inside])
    assert found["some"] != found["all"]


@pytest.mark.parametrize("shift", [0.0, -0.4])
def test_rounded_risks_err_by_no_more_than_the_pairs_that_they_tie(shift, monkeypatch):
    monkeypatch.setattr(error_detection, "blocks", lambda size: blocks(size, 700))
    rng = np.random.default_rng(3)
    error = rng.random(5000) < 0.1
    risk = (rng.random(5000) ** 6 + 0.1 * error + shift).astype(np.float32)
    ranked = rank_errors(risk, error, exact_voxels=0)
    rounded, exact = detection(ranked), of(risk, error)
    assert ranked.count.sum() == 5000
    tied = (ranked.loss * (ranked.count - ranked.loss)).sum() / (error.sum() * (~error).sum())
    assert 0 < abs(rounded.auroc - exact.auroc) <= tied / 2 < 1e-3
    assert tuple(rounded) == pytest.approx(tuple(exact), abs=0.005)


def test_risks_that_rounding_keeps_apart_are_ranked_exactly():
    values = np.float32([-np.inf, -7, -1e-30, -0.0, 0.0, 1e-40, 1e-30, 0.001, 0.5, 0.5005, 0.6931, 3e38])
    ranked = rank_errors(values, np.ones(values.size, bool), exact_voxels=0)
    assert ranked.count[ranked.count > 0].tolist() == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]


def test_a_map_that_says_nothing_in_places_is_named():
    risk, error = case(4)
    risk[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="map 'variance': the risk map is NaN or infinite in 1 voxels"):
        ErrorDetection().update({"variance": risk}, error, EVERY)


def test_maps_and_scopes_of_another_shape_are_refused():
    risk, error = case(5)
    with pytest.raises(InputError, match="the risk map has shape"):
        detections(risk[1:], error, EVERY)
    with pytest.raises(InputError, match="the scope 'body' has shape"):
        detections(risk, error, {"body": error[1:]})


def test_cases_are_averaged_with_an_interval_and_those_without_errors_left_out():
    stream, wanted = ErrorDetection(), []
    for seed in range(4):
        risk, error = case(seed)
        error &= seed != 3
        stream.update({"good": risk, "bad": -risk}, error, {"all": None, "boundary": risk < 0.9})
        wanted.append(of(risk, error))
    table = stream.compute()
    assert [(scope, name) for scope, rows in table.items() for name in rows] == [
        (scope, name) for scope in ("all", "boundary") for name in ("good", "bad")
    ]
    row = table["all"]["good"]
    assert list(row) == ["auroc", "ap", "fpr95", "aurc_x1000", "e_aurc_x1000", "augrc_x1000"]
    assert row["auroc"]["mean"] == pytest.approx(np.mean([found.auroc for found in wanted[:3]]))
    assert row["auroc"]["lo"] <= row["auroc"]["mean"] <= row["auroc"]["hi"]
    assert row["aurc_x1000"]["mean"] == pytest.approx(1000 * np.mean([found.aurc for found in wanted]))
    assert best_map(table) == "good"


def test_no_map_is_the_best_where_none_can_be_judged():
    stream = ErrorDetection()
    assert best_map(stream.compute()) is None
    risk, error = case(0)
    stream.update({"variance": risk}, np.zeros_like(error), {"boundary": None})
    assert best_map(stream.compute()) is None
