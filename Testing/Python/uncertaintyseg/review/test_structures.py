"""The structure table against sums over voxels."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.review.agreement import POSSIBLE, agreement, counts
from uncertaintyseg.review.structures import LOW_DICE, Drawn, structure_table
from uncertaintyseg.wire import Label

LABELS = [Label(id=1, name="organ", rgb=(1, 2, 3), snomed=None), Label(id=2, name="lesion", rgb=(4, 5, 6), snomed=None)]
VOXEL_ML = 0.05


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.3, 0.3, 0.1], (12, 10, 8)).transpose(3, 0, 1, 2)
    return p.argmax(0), {"organ": p[1], "lesion": p[2]}, 1 - p.max(0)


def test_rows_are_sums_over_voxels(case):
    label, probabilities, error = case
    drawn = Drawn("sampled", {1: (1.0, 2.0), 2: (0.12344, 9.0)}, coverage=0.95121)
    rows = structure_table(label, probabilities, error, LABELS, VOXEL_ML, drawn)
    for row, item in zip(rows, LABELS, strict=True):
        inside, p = label == item.id, probabilities[item.name]
        assert (row.id, row.name, row.interval_method) == (item.id, item.name, "sampled")
        assert (row.interval_coverage, row.dice_method) == (0.9512, "voxel probabilities")
        assert row.volume_ml == pytest.approx(inside.sum() * VOXEL_ML, abs=1e-4)
        assert row.mean_risk == pytest.approx(error[inside].mean(), abs=1e-4)
        assert row.expected_dice == pytest.approx(2 * p[inside].sum() / (p.sum() + inside.sum()), abs=1e-4)
        wrong = np.where(inside, 1 - p, p)
        assert row.expected_error_ml == pytest.approx(wrong[wrong >= POSSIBLE].sum() * VOXEL_ML, abs=1e-4)
    assert rows[1].volume_ml_95 == (0.1234, 9.0)


def test_the_dice_of_drawn_shapes_goes_before_that_of_voxels_and_says_so(case):
    label, probabilities, error = case
    drawn = Drawn("none: too few", dice={1: 0.71234, 2: None}, coverage=0.8824, count=16)
    organ, lesion = structure_table(label, probabilities, error, LABELS, VOXEL_ML, drawn)
    assert (organ.expected_dice, organ.dice_method) == (0.7123, "mean over 16 drawn shapes")
    assert organ.flag.startswith("expected Dice below 0.8")
    assert lesion.expected_dice is None
    assert (organ.volume_ml_95, organ.interval_coverage) == (None, 0.8824)


def test_the_expected_dice_is_what_repeated_references_give(case):
    label, probabilities, error = case
    rng, inside, p = np.random.default_rng(1), label == 1, probabilities["organ"]
    draws = [rng.random(p.shape) < p for _ in range(300)]
    mean = np.mean([2 * (draw & inside).sum() / (draw.sum() + inside.sum()) for draw in draws])
    found = agreement(label, 1, p, counts(label, error, None, 3))
    assert found.dice == pytest.approx(mean, abs=2e-3)


def test_a_structure_that_was_not_found_has_neither_risk_nor_dice():
    nothing = np.zeros((4, 4, 4), int)
    p = {"organ": np.full((4, 4, 4), 1e-3), "lesion": np.full((4, 4, 4), 0.2)}
    organ, lesion = structure_table(nothing, p, np.full((4, 4, 4), 0.2), LABELS, VOXEL_ML, Drawn("none: why"))
    assert (organ.volume_ml, organ.mean_risk, organ.expected_dice, organ.flag) == (0, None, None, "not found")
    assert (lesion.volume_ml, lesion.mean_risk, lesion.expected_dice, lesion.flag) == (0, None, 0, "not found")
    assert organ.volume_ml_95 is None


@pytest.mark.parametrize(("p", "flag"), [(0.99, None), (0.6, f"expected Dice below {LOW_DICE}")])
def test_a_structure_that_the_model_doubts_is_flagged(p, flag):
    label = np.zeros((6, 6, 6), int)
    label[1:5, 1:5, 1:5] = 1
    inside = np.where(label == 1, p, 1 - p)
    error, drawn = np.full(label.shape, 1 - p), Drawn("none")
    rows = structure_table(label, {"organ": inside}, error, LABELS[:1], VOXEL_ML, drawn)
    assert rows[0].flag == flag


@pytest.mark.parametrize(
    ("box", "interval", "valid", "flag"),
    [
        (slice(1, 5), (0.0, 3.0), None, None),
        (slice(1, 5), (1.0, 5.0), None, "volume uncertain by more than itself"),
        (slice(2, 6), (1.0, 5.0), None, "volume uncertain by more than itself; reaches the edge of the scan"),
        (slice(1, 5), (0.0, 3.0), slice(0, 5), "reaches the edge of the scan"),
        (slice(1, 4), (0.0, 1.3), slice(0, 5), None),
    ],
)
def test_a_structure_is_flagged_for_a_wide_interval_and_where_the_scan_ends(box, interval, valid, flag):
    label, seen = np.zeros((6, 6, 6), int), np.zeros((6, 6, 6), np.float32)
    label[box, 1:5, 1:5], seen[valid or slice(None)] = 1, 1
    p, sure = {"organ": np.where(label == 1, 0.99, 0.01)}, np.full(label.shape, 0.01)
    rows = structure_table(label, p, sure, LABELS[:1], VOXEL_ML, Drawn("sampled", {1: interval}), valid=seen)
    assert rows[0].flag == flag
