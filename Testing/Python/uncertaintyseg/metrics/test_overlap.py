"""Overlap of masks and of labels with several classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from sklearn import metrics as sk

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.overlap import class_averages, class_voxels, confusion_matrix, dice, overlap

SPACING = (0.5, 1.5, 4.0)
masks = arrays(bool, (4, 4, 3))


def blobs(shape=(14, 12, 8)) -> tuple[np.ndarray, np.ndarray]:
    """Two ellipsoids that overlap in part."""
    grid = np.indices(shape) - np.reshape(shape, (-1, 1, 1, 1)) / 2
    first = ((grid / np.array([5, 4, 3]).reshape(-1, 1, 1, 1)) ** 2).sum(0) < 1
    return first, np.roll(first, (2, -1, 1), (0, 1, 2)) | (grid[0] > 5)


def surface_distances(one, other, spacing) -> tuple[np.ndarray, np.ndarray]:
    points = [np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (one, other)]
    return cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]


def test_dice_of_equal_disjoint_and_half_overlapping_masks():
    one, other = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    one[:2], other[2:] = True, True
    assert dice(one, one) == 1
    assert dice(one, other) == 0
    other[:] = False
    other[1:3] = True
    assert dice(one, other) == pytest.approx(0.5)
    assert dice(one, np.ones_like(one)) == pytest.approx(2 * 32 / (32 + 64))


def test_dice_is_nan_where_both_are_empty_and_zero_where_one_is():
    full, empty = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert math.isnan(dice(empty, empty))
    assert dice(full, empty) == dice(empty, full) == 0


@given(masks, masks)
def test_counts_agree_with_scikit_learn(label, reference):
    found, pair = overlap(label, reference, SPACING), (reference.ravel(), label.ravel())
    both, nan = label.any() and reference.any(), math.nan
    wanted = {
        "dice": sk.f1_score(*pair, zero_division=nan),
        "f1": sk.f1_score(*pair, zero_division=nan),
        "precision": sk.precision_score(*pair, zero_division=nan),
        "recall": sk.recall_score(*pair, zero_division=nan),
        "accuracy": sk.accuracy_score(*pair),
        "absolute_volume_error_ml": abs(label.sum() - reference.sum(dtype=int)) * 0.003,
    }
    if both:
        wanted["iou"] = sk.jaccard_score(*pair)
        wanted["relative_volume_error"] = label.sum() / reference.sum() - 1
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, nan_ok=True), name


@given(masks, masks)
def test_exchanging_the_masks_exchanges_precision_and_recall_only(label, reference):
    one, other = overlap(label, reference, SPACING), overlap(reference, label, SPACING)
    for name in ("dice", "iou", "accuracy", "hd95_mm", "surface_dice", "absolute_volume_error_ml"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True), name
    assert one.precision == pytest.approx(other.recall, nan_ok=True)


NAN = math.nan
EMPTY = {
    "both": {"accuracy": 1, "absolute_volume_error_ml": 0},
    "label": {
        "dice": 0,
        "f1": 0,
        "iou": 0,
        "recall": 0,
        "accuracy": 0.75,
        "surface_dice": 0,
        "absolute_volume_error_ml": 0.03,
        "relative_volume_error": -1,
    },
    "reference": {
        "dice": 0,
        "f1": 0,
        "iou": 0,
        "precision": 0,
        "accuracy": 0.75,
        "surface_dice": 0,
        "absolute_volume_error_ml": 0.03,
    },
}


@pytest.mark.parametrize("empty", EMPTY)
def test_what_an_empty_mask_gives_is_the_table_of_the_module(empty):
    some, none = np.zeros((5, 4, 2), bool), np.zeros((5, 4, 2), bool)
    some[:, 0] = True
    label, reference = {"both": (none, none), "label": (none, some), "reference": (some, none)}[empty]
    found = overlap(label, reference, (1, 1, 3))._asdict()
    assert found == pytest.approx(dict.fromkeys(found, NAN) | EMPTY[empty], nan_ok=True)


@pytest.mark.parametrize("spacing", [(1, 1, 1), SPACING])
def test_surfaces_are_compared_in_millimetres(spacing):
    label, reference = blobs()
    found = overlap(label, reference, spacing, tolerance_mm=1.5)
    there, back = surface_distances(label, reference, spacing)
    assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    near = (there <= 1.5).sum() + (back <= 1.5).sum()
    assert found.surface_dice == pytest.approx(near / (there.size + back.size), rel=1e-5)


def test_a_shift_by_a_voxel_is_a_distance_of_its_size():
    cube = np.zeros((9, 9, 9), bool)
    cube[3:6, 3:6, 3:6] = True
    for axis, step in enumerate(SPACING):
        assert overlap(np.roll(cube, 1, axis), cube, SPACING).hd95_mm == pytest.approx(step)
    assert overlap(cube, cube, SPACING)[:8] == (1, 1, 1, 1, 1, 1, 0, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_measured_in_its_plane(axis):
    label, reference = (mask[:, :, 4] for mask in blobs())
    thick = [np.expand_dims(mask, axis) for mask in (label, reference)]
    spacing = [0.5, 1.5]
    found = overlap(*thick, [*spacing[:axis], 7.0, *spacing[axis:]])
    there, back = surface_distances(label, reference, spacing)
    assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    assert overlap(*(np.ones((5, 1, 1), bool) for _ in range(2)), SPACING).hd95_mm == 0


def test_masks_at_the_border_of_the_volume_have_a_surface_there():
    full = np.ones((6, 5, 4), bool)
    assert overlap(full, full, SPACING).surface_dice == 1
    assert overlap(full, full, SPACING).hd95_mm == 0


def test_masks_that_do_not_fit_are_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(InputError, match="bring both onto one grid"):
        overlap(mask, mask[1:], SPACING)
    for spacing in ((1, 1), (1, 1, 0), (1, 1, math.nan)):
        with pytest.raises(InputError, match="positive voxel size"):
            overlap(mask, mask, spacing)


def labels(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    reference = rng.integers(0, 4, (6, 7, 5))
    return np.where(rng.random(reference.shape) < 0.6, reference, rng.integers(0, 4, reference.shape)), reference


def test_confusions_are_counted_by_reference_and_label():
    label, reference = labels(np.random.default_rng(0))
    found = confusion_matrix(label.astype(np.uint8), reference, 4)
    np.testing.assert_array_equal(found, sk.confusion_matrix(reference.ravel(), label.ravel()))
    with pytest.raises(InputError, match=r"class id 3 .* 0 to 2"):
        confusion_matrix(label, reference, 3)
    with pytest.raises(InputError, match="one grid"):
        confusion_matrix(label[1:], reference, 4)


def test_averages_over_classes_agree_with_scikit_learn():
    label, reference = labels(np.random.default_rng(1))
    found, pair = class_averages(confusion_matrix(label, reference, 4)), (reference.ravel(), label.ravel())
    wanted = {
        "accuracy": sk.accuracy_score(*pair),
        "frequency_weighted_iou": sk.jaccard_score(*pair, average="weighted"),
    }
    for kind in ("micro", "macro"):
        structures = {"labels": [1, 2, 3], "average": kind}
        wanted |= {
            f"{kind}_dice": sk.f1_score(*pair, **structures),
            f"{kind}_iou": sk.jaccard_score(*pair, **structures),
            f"{kind}_precision": sk.precision_score(*pair, **structures),
            f"{kind}_recall": sk.recall_score(*pair, **structures),
        }
    assert found == pytest.approx(wanted)


def test_averages_leave_absent_structures_out():
    confusion = np.array([[90, 0, 0], [2, 8, 0], [0, 0, 0]])
    found = class_averages(confusion)
    assert found["macro_dice"] == found["micro_dice"] == pytest.approx(16 / 18)
    assert found["frequency_weighted_iou"] == pytest.approx(0.9 * 90 / 92 + 0.1 * 0.8)
    empty = class_averages(np.diag([10, 0, 0]))
    assert (empty["accuracy"], empty["frequency_weighted_iou"]) == (1, 1)
    assert math.isnan(empty["macro_dice"])
    assert math.isnan(empty["micro_iou"])


@pytest.mark.parametrize("order", ["C", "F"])
def test_voxels_of_each_class_are_counted_in_any_memory_order(order):
    label = np.asarray(np.random.default_rng(5).integers(0, 300, (7, 6, 5)), np.uint16, order=order)
    assert class_voxels(label).tolist() == [(label == value).sum() for value in range(label.max() + 1)]
    assert class_voxels(np.zeros((0, 3), np.uint8)).tolist() == [0]
