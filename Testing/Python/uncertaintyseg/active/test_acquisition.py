"""The scores of a case: entropy near its foreground, in millimetres, and the other measures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.active.acquisition import (
    ACQUISITIONS,
    FOREGROUND,
    NEAR_MM,
    case_scores,
    entropy_near_foreground,
    of_structure,
)
from uncertaintyseg.wire import Structure


def brute_force(entropy: np.ndarray, label: np.ndarray, spacing: tuple[float, ...], near: float) -> float:
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in label.shape), indexing="ij"), -1) * np.array(spacing)
    foreground = voxels[label > 0]
    distance = np.linalg.norm(voxels[..., None, :] - foreground, axis=-1).min(-1)
    return float(entropy[distance <= near + 1e-9].mean())


@given(
    st.integers(0, 50),
    st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.9, 3.1, 1.4)]),
    st.sampled_from([0.9, 2, 3.5]),
)
def test_the_score_agrees_with_brute_force(seed, spacing, near):
    rng = np.random.default_rng(seed)
    entropy, label = rng.random((9, 8, 7)), (rng.random((9, 8, 7)) < 0.01).astype(np.uint8) * 2
    label[4, 3, 5] = 1
    assert entropy_near_foreground(entropy, label, spacing, near) == pytest.approx(
        brute_force(entropy, label, spacing, near)
    )


def test_three_millimetres_are_the_default():
    entropy, label = np.zeros((11, 3, 3)), np.zeros((11, 3, 3), int)
    label[5, 1, 1] = 1
    entropy[2:9] = 1
    assert NEAR_MM == 3
    assert entropy_near_foreground(entropy, label, (1, 10, 10)) == 1
    assert entropy_near_foreground(entropy, label, (0.5, 10, 10)) < 1


def test_a_case_without_foreground_is_scored_by_its_whole_volume():
    entropy = np.random.default_rng(0).random((4, 4, 4))
    assert entropy_near_foreground(entropy, np.zeros((4, 4, 4), int), (1, 1, 1)) == pytest.approx(entropy.mean())


def test_the_size_of_the_background_does_not_matter():
    entropy, label = np.zeros((10, 10, 10)), np.zeros((10, 10, 10), int)
    label[4:6, 4:6, 4:6], entropy[4:6, 4:6, 4:6] = 1, 0.5
    padded = [np.pad(a, 7) for a in (entropy, label)]
    assert entropy_near_foreground(*padded, (1, 1, 1)) == pytest.approx(
        entropy_near_foreground(entropy, label, (1, 1, 1))
    )


def row(name: str, class_id: int, dice: float | None, interval: tuple[float, float] | None) -> Structure:
    return Structure(
        name=name, id=class_id, volume_ml=1.0, volume_ml_95=interval, interval_method="", mean_risk=None,
        expected_dice=dice, flag=None,
    )  # fmt: skip


def example(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.zeros((12, 11, 10), np.uint8)
    label[3:6, 3:6, 3:6], label[7:9, 3:6, 3:6] = 1, 2
    names = ("predictive_entropy", "mutual_information", "variance", "ranking")
    return {name: rng.random(label.shape) for name in names}, label


def test_every_measure_is_what_it_says():
    maps, label = example()
    spacing = (1.0, 2.0, 0.5)
    structures = [row("organ", 1, 0.9, (1.0, 3.0)), row("lesion", 2, 0.5, (2.0, 2.0))]
    scores = case_scores(maps, label, spacing, structures)
    assert set(scores) == {*ACQUISITIONS, FOREGROUND, of_structure("organ"), of_structure("lesion")}
    for name in ("predictive_entropy", "mutual_information", "variance"):
        assert scores[name] == pytest.approx(brute_force(maps[name], label, spacing, NEAR_MM))
    assert scores["risk_ranking"] == pytest.approx(brute_force(maps["ranking"], label, spacing, NEAR_MM))
    assert scores["mean_entropy"] == pytest.approx(maps["predictive_entropy"].mean())
    assert scores["expected_dice_loss"] == pytest.approx(0.3)
    assert scores["volume_interval"] == pytest.approx((2 / 2 + 0) / 2)
    assert scores[FOREGROUND] == pytest.approx((27 + 18) / 1000)
    around = brute_force(maps["predictive_entropy"], label * (label == 2), spacing, NEAR_MM)
    assert scores[of_structure("lesion")] == pytest.approx(around)


def test_what_a_model_does_not_give_has_no_score():
    maps, label = example()
    del maps["ranking"]
    scores = case_scores(
        maps, label * (label == 1), (1, 1, 1), [row("organ", 1, 0.9, None), row("lesion", 2, None, None)]
    )
    assert not scores.keys() & {"volume_interval", "risk_ranking"}
    assert of_structure("lesion") not in scores
    assert scores["expected_dice_loss"] == pytest.approx(0.1)


def test_a_case_in_which_nothing_is_found_or_expected_has_finite_scores():
    maps, label = example()
    scores = case_scores(maps, np.zeros_like(label), (1, 1, 1), [row("organ", 1, None, (0.0, 0.0))])
    assert np.isfinite(list(scores.values())).all()
    assert scores["predictive_entropy"] == pytest.approx(maps["predictive_entropy"].mean())
    assert scores["expected_dice_loss"] == scores["volume_interval"] == scores[FOREGROUND] == 0
