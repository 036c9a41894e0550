"""Clean-up of labels against morphology by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from uncertaintyseg.data.cleanup import clean_up
from uncertaintyseg.errors import InputError

SPACING = (1.0, 2.0, 0.5)


def ball(radius: float, spacing) -> np.ndarray:
    reach = [int(radius / side) for side in spacing]
    grid = np.meshgrid(*(np.arange(-n, n + 1) * s for n, s in zip(reach, spacing, strict=True)), indexing="ij")
    return sum(axis**2 for axis in grid) <= radius**2 + 1e-9


def speckle(seed: int, density: float = 0.15) -> np.ndarray:
    return (np.random.default_rng(seed).random((9, 7, 11)) < density).astype(np.uint8)


def test_nothing_is_touched_unless_asked_for():
    label = np.random.default_rng(0).integers(0, 4, (5, 6, 7))
    cleaned = clean_up(label, SPACING)
    assert np.array_equal(cleaned, label)
    assert cleaned is not label


@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 1.7, 2.3]))
def test_closing_is_that_of_a_ball_in_millimetres(seed, radius):
    mask = speckle(seed)
    padded = np.pad(mask.astype(bool), 8)
    wanted = ndimage.binary_closing(padded, ball(radius, SPACING))[8:-8, 8:-8, 8:-8]
    assert np.array_equal(clean_up(mask, SPACING, closing_mm=radius) == 1, wanted)


@given(st.integers(0, 1000))
def test_closing_neither_takes_from_a_structure_nor_from_its_neighbour(seed):
    label = np.random.default_rng(seed).choice([0, 1, 2], p=[0.7, 0.2, 0.1], size=(8, 8, 8))
    closed = clean_up(label, (1, 1, 1), closing_mm=1.5)
    assert np.array_equal(closed[label != 0], label[label != 0])


def test_a_slice_is_closed_by_discs():
    label = np.zeros((9, 9, 1), int)
    label[2:7, 2:7] = 3
    label[4, 4] = 0
    assert clean_up(label, (1, 1, 5), closing_mm=1.0)[4, 4, 0] == 3
    assert np.array_equal(
        clean_up(label, (1, 1, 5), closing_mm=1.0)[..., 0], clean_up(label[..., 0], (1, 1), closing_mm=1.0)
    )


def test_only_the_largest_component_of_each_structure_stays():
    label = np.zeros((12, 6, 6), int)
    label[:4, :3, :3], label[6:8, :3, :3] = 1, 1
    label[5, 5, 5], label[9:, 4:, 4:] = 2, 2
    kept = clean_up(label, (1, 1, 1), largest={1: 1, 2: 1})
    assert (kept == 1).sum() == 36
    assert (kept == 2).sum() == 12
    assert kept[5, 5, 5] == 0


def test_components_touch_by_faces():
    label = np.zeros((4, 4, 4), int)
    label[0, 0, 0], label[1:3, 1, 1] = 1, 1
    assert clean_up(label, (1, 1, 1), largest={1: 1}).sum() == 2


@pytest.mark.parametrize(("least", "left"), [(0.002, 5), (0.0021, 3), (0.0031, 0)])
def test_components_below_a_volume_are_dropped(least, left):
    label = np.zeros((8, 3, 3), int)
    label[:3, 0, 0], label[5:7, 0, 0] = 1, 1
    assert clean_up(label, SPACING, smallest=least).sum() == left


@pytest.mark.parametrize(
    ("unit", "least", "left"),
    [("mm2", 4, 5), ("mm2", 6, 3), ("mm2", 6.1, 0), ("mm2", 4.1, 3), ("px", 2, 5), ("px", 2.1, 3), ("px", 4, 0)],
)
def test_pieces_of_an_image_are_measured_by_their_area(unit, least, left):
    label = np.zeros((8, 3, 1), int)
    label[:3, 0, 0], label[5:7, 0, 0] = 1, 1  # pixels of 2 mm2; slices of any thickness
    assert clean_up(label, (1.0, 2.0, 7.0), smallest=least, unit=unit).sum() == left


@pytest.mark.parametrize(
    ("kept", "left"), [({}, [8, 6, 4, 4]), ({1: 2}, [8, 6]), ({1: 3}, [8, 6, 4]), ({2: 1}, [8, 6, 4, 4])]
)
def test_as_many_pieces_stay_as_a_structure_has(kept, left):
    label = np.zeros((20, 2, 3), int)
    for start, stop, slices in ((0, 2, 2), (4, 5, 3), (7, 8, 2), (10, 11, 2)):
        label[start:stop, :, :slices] = 1
    label[15] = 2
    sizes = sorted(np.bincount(ndimage.label(clean_up(label, SPACING, largest=kept) == 1)[0].ravel())[1:])[::-1]
    assert list(sizes) == left


def test_an_empty_label_stays_empty():
    empty = np.zeros((4, 5, 6), np.uint8)
    assert not clean_up(empty, SPACING, closing_mm=2, smallest=1, largest={1: 1}).any()


@pytest.mark.parametrize(
    ("spacing", "options", "message"),
    [
        ((1, 1), {}, "3 axes needs as many positive voxel sizes"),
        ((1, 1, 0), {}, "positive voxel sizes"),
        ((1, 1, 1), {"closing_mm": -1}, "'closing_mm' is a size of 0 or more, not -1"),
        ((1, 1, 1), {"smallest": float("nan")}, "'smallest' is a size of 0 or more, not nan"),
        ((1, 1, 1), {"largest": {2: 0}}, "'largest' keeps 1 component or more, not 0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(spacing, options, message):
    with pytest.raises(InputError, match=message):
        clean_up(np.zeros((3, 3, 3), int), spacing, **options)
