"""Lasso and box: which voxels they are about, held against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import grid_points_in_poly

from uncertaintyseg.errors import InputError
from uncertaintyseg.review.enclosing import Box, check_box, grid_points_inside, lasso_voxels, outside

SHAPE = (14, 12, 9)


def crosses(point, corners) -> bool:
    """Whether a point is inside a polygon, by counting the edges that a ray to the right meets."""
    x, y = point
    hits = 0
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            hits += 1
    return hits % 2 == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 8))
def test_a_lasso_on_a_slice_holds_the_voxels_whose_centres_are_inside(axis, seed, count):
    random = np.random.default_rng(seed)
    across = [a for a in range(3) if a != axis]
    corners = np.empty((count, 3))
    corners[:, across] = random.uniform(0, 1, (count, 2)) * (np.array(SHAPE)[across] - 1) + 1e-3
    corners[:, axis] = random.integers(0, SHAPE[axis]) + random.uniform(-0.49, 0.49)
    size = np.array(SHAPE)[across]
    expected = {(u, v) for u in range(size[0]) for v in range(size[1]) if crosses((u, v), corners[:, across])}
    if not expected:
        with pytest.raises(InputError, match="around no voxel"):
            lasso_voxels(corners, SHAPE)
        return
    found = lasso_voxels(corners, SHAPE)
    assert {tuple(voxel) for voxel in found[:, across].tolist()} == expected
    assert set(found[:, axis]) == {round(corners[0, axis])}


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6), count=st.integers(3, 12), step=st.sampled_from([0.001, 0.1, 0.5, 1.0]),
    size=st.tuples(st.integers(2, 14), st.integers(2, 14)),
)  # fmt: skip
def test_points_inside_are_those_that_skimage_finds_corners_and_edges_included(seed, count, step, size):
    random = np.random.default_rng(seed)
    corners = np.round(random.uniform(0, 1, (count, 2)) * (np.array(size) - 1) / step) * step
    corners = corners.clip(0, np.array(size) - 1)
    assert np.array_equal(grid_points_inside(corners, size), grid_points_in_poly(size, corners))


def test_a_lasso_on_an_oblique_slice_holds_one_voxel_of_each_column_nearest_to_it():
    corners = np.array([[2, 2, 1], [10, 2, 5], [10, 9, 5], [2, 9, 1]])  # k = i / 2
    found = lasso_voxels(corners, SHAPE)
    assert len({(i, j) for i, j, _ in found.tolist()}) == len(found)
    assert np.abs(found[:, 2] - found[:, 0] / 2).max() <= 0.5
    assert set(map(tuple, found[:, :2].tolist())) >= {(i, j) for i in range(3, 10) for j in range(3, 9)}


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ([[1, 1, 1], [2, 2, 1]], "3 corners"),
        ([[1, 1, 1], [2, 2, 1], [np.nan, 1, 1]], "finite"),
        ([[1, 1, 1], [5, 1, 1], [5, 12.6, 1]], "leaves the scan of 14 x 12 x 9"),
        ([[1, 1, 1], [9, 1, 1], [9, 9, 7], [1, 9, 1]], "one plane"),
        ([[1.2, 1.2, 1], [1.4, 1.2, 1], [1.4, 1.4, 1]], "around no voxel"),
    ],
)
def test_a_lasso_that_is_none_is_refused(corners, words):
    with pytest.raises(InputError, match=words):
        lasso_voxels(corners, SHAPE)


@pytest.mark.parametrize(("first", "last"), [((3, 2, 1), (2, 5, 5)), ((0, 0, 0), (14, 5, 5)), ((-1, 0, 0), (2, 2, 2))])
def test_a_box_that_is_none_is_refused(first, last):
    with pytest.raises(InputError, match="no box in the scan of 14 x 12 x 9"):
        check_box(Box(1, first, last), SHAPE)


def by_hand(label: np.ndarray, boxes: list[Box]) -> dict[int, np.ndarray]:
    """What `outside` promises, voxel by voxel and box by box."""
    found: dict[int, set[int]] = {}
    for box in boxes:
        thin = [a for a in range(3) if box.first[a] == box.last[a]]
        flat = thin[0] if len(thin) == 1 else None

        def speaks_of(voxel, flat=flat, box=box):
            return flat is None or voxel[flat] == box.first[flat]

        same = [
            other for other in boxes
            if other.label == box.label and other.domain == box.domain
        ]  # fmt: skip
        spoken = np.array([speaks_of(v) for v in np.ndindex(label.shape)]).reshape(label.shape)
        pieces, _ = ndimage.label((label == box.label) & spoken)
        held = np.zeros(label.shape, bool)
        for other in same:
            held[other.inside] = True
        for voxel in np.ndindex(label.shape):
            if pieces[voxel] and not held[voxel] and (held & (pieces == pieces[voxel])).any():
                found.setdefault(box.label, set()).add(int(np.ravel_multi_index(voxel, label.shape)))
    return {key: np.array(sorted(found[key])) for key in sorted(found)}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4))
def test_what_reaches_out_of_boxes_is_found_as_by_hand(seed, count):
    random = np.random.default_rng(seed)
    label = (ndimage.uniform_filter(random.normal(size=(7, 6, 5)), 2) * 6).round().clip(0, 2).astype(np.uint8)
    boxes = []
    for _ in range(count):
        ends = np.sort(random.integers(0, label.shape, size=(2, 3)), axis=0)
        if random.random() < 0.4:
            ends[1, 2] = ends[0, 2]
        boxes.append(Box(int(random.integers(1, 3)), tuple(ends[0].tolist()), tuple(ends[1].tolist())))
    found, expected = outside(label, boxes), by_hand(label, boxes)
    assert list(found) == list(expected)
    for key in found:
        np.testing.assert_array_equal(found[key], expected[key])


def test_a_box_says_nothing_of_other_pieces_and_a_flat_one_nothing_of_other_slices():
    label = np.zeros(SHAPE, np.uint8)
    label[2:9, 3:6, 2:6] = 1
    label[12, 10, 2:6] = 1  # an island
    out = outside(label, [Box(1, (2, 3, 2), (5, 5, 5))])
    assert set(map(tuple, np.stack(np.unravel_index(out[1], SHAPE), 1).tolist())) == {
        (i, j, k) for i in (6, 7, 8) for j in (3, 4, 5) for k in range(2, 6)
    }
    flat = outside(label, [Box(1, (2, 3, 4), (5, 5, 4))])
    assert set(np.unravel_index(flat[1], SHAPE)[2]) == {4}
    assert len(flat[1]) == 9
    assert outside(label, [Box(2, (2, 3, 2), (5, 5, 5)), Box(1, (0, 0, 0), (13, 11, 8))]) == {}
