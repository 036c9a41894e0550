"""Regions on phantoms whose doubt is known voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from uncertaintyseg.review.regions import LEVELS, LONGEST_MM, regions
from uncertaintyseg.wire import Label

ORGAN, LESION = (Label(id=i, name=name, rgb=(i, 0, 0)) for i, name in enumerate(("organ", "lesion"), start=1))
AFFINE = np.diag([-1.0, 2.0, 4.0, 1.0])
AFFINE[:3, 3] = 10, -20, 30
VOXEL_ML = 0.008


def ball(shape, centre, radius) -> np.ndarray:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


def found(p: np.ndarray, *, label: np.ndarray | None = None, **options):
    """Regions of one organ, by default of the likeliest label."""
    label = (p > 0.5).astype(np.uint8) if label is None else label
    error = np.where(label == 1, 1 - p, p).astype(np.float32)
    return regions(label, error, {"organ": p}, [ORGAN], AFFINE, **options)


@pytest.fixture
def organ() -> np.ndarray:
    """A sure organ, probability `[24, 24, 24]`."""
    return np.where(ball((24, 24, 24), (11, 11, 11), 7), 0.99, 0.01)


def test_where_nothing_is_doubted_there_is_nothing_to_look_at(organ):
    assert found(organ) == []


def test_a_region_says_where_how_large_and_how_wrong(organ):
    organ[2:5, 2:5, 2] = 0.4
    organ[2:5, 2:4, 3] = 0.45
    (region,) = found(organ)
    assert (region.rank, region.structure, region.kind) == (1, "organ", "missed")
    assert region.bounding_box == ((2, 2, 2), (4, 4, 3))
    assert region.volume_ml == pytest.approx(15 * VOXEL_ML)
    assert region.expected_error_ml == pytest.approx((9 * 0.4 + 6 * 0.45) * VOXEL_ML, abs=1e-4)
    assert region.ijk == (3, 3, 2)  # the slice that holds most of it, and its middle
    assert region.ras_mm == tuple((AFFINE @ [3, 3, 2, 1])[:3])


def test_the_slice_is_across_head_to_foot_in_any_storage_order(organ):
    organ[2:5, 2:5, 2] = 0.4
    organ[2:5, 2:4, 3] = 0.45
    turned = organ.transpose(2, 0, 1)
    label, affine = (turned > 0.5).astype(np.uint8), AFFINE[:, [2, 0, 1, 3]]
    error = np.where(label == 1, 1 - turned, turned)
    (region,) = regions(label, error, {"organ": turned}, [ORGAN], affine)
    assert region.ijk == (2, 3, 3)
    assert region.ras_mm == tuple((AFFINE @ [3, 3, 2, 1])[:3])


def test_a_doubted_rim_is_border(organ):
    inside = organ > 0.5
    rim = ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside)
    places = found(np.where(rim, np.where(inside, 0.65, 0.3), organ), limit=3)
    assert {region.kind for region in places} == {"border"}


def test_a_thick_doubted_part_outside_is_missed_and_inside_extra(organ):
    bulge = ball(organ.shape, (20, 11, 11), 4) & (organ < 0.5)
    assert [region.kind for region in found(np.where(bulge, 0.45, organ))] == ["missed"]
    assert [region.kind for region in found(np.where(ball(organ.shape, (11, 11, 11), 4), 0.55, organ))] == ["extra"]


def test_a_small_piece_that_may_not_be_there_is_extra_however_thin(organ):
    organ[20:22, 20:22, 20] = 0.6
    (region,) = found(organ)
    assert region.kind == "extra"
    assert region.bounding_box == ((20, 20, 20), (21, 21, 20))


def test_what_is_mostly_doubted_around_a_small_piece_is_missed(organ):
    organ[:] = np.where(ball(organ.shape, (11, 11, 11), 5), 0.4, 0.01)
    organ[11, 11, 11] = 0.6
    assert [region.kind for region in found(organ)] == ["missed"]


def test_each_voxel_counts_for_one_structure_and_the_worst_comes_first():
    p = {name: np.full((20, 12, 12), 0.01) for name in ("organ", "lesion")}
    p["organ"][2:6, 2:6, 2:6], p["lesion"][2:6, 2:6, 2:6] = 0.25, 0.3  # background, but most likely a lesion
    p["organ"][12:18, 2:8, 2:8], p["lesion"][12:18, 2:8, 2:8] = 0.6, 0.39
    stack = np.stack([1 - p["organ"] - p["lesion"], p["organ"], p["lesion"]])
    places = regions(stack.argmax(0), 1 - stack.max(0), p, [ORGAN, LESION], AFFINE)
    assert [(region.structure, region.kind) for region in places] == [("organ", "extra"), ("lesion", "missed")]
    assert [region.rank for region in places] == [1, 2]
    assert places[1].expected_error_ml == pytest.approx(64 * 0.55 * VOXEL_ML, abs=1e-3)


def test_a_long_doubted_rim_is_cut_where_it_is_worst():
    p = np.full((8, 40, 8), 0.01)
    p[2:5, 2:38, 2:5] = 0.25
    p[2:5, 4:8, 2:5] = p[2:5, 30:36, 2:5] = 0.45
    places = found(p)
    assert [region.bounding_box for region in places] == [((2, 30, 2), (4, 35, 4)), ((2, 4, 2), (4, 7, 4))]
    p[2:5, 2:38, 2:5] = 0.45  # long, but no level cuts it
    (whole,) = found(p)
    assert (whole.bounding_box[1][1] - whole.bounding_box[0][1]) * 2 > LONGEST_MM


def test_a_label_that_the_model_knows_nothing_of_is_extra_and_one_that_lacks_what_it_sees_missed(organ):
    label = (organ > 0.5).astype(np.uint8)
    label[18:23, 18:23, 18:23] = 1
    label[4:12] = 0
    assert {(r.kind, r.structure) for r in found(organ, label=label)} == {("extra", "organ"), ("missed", "organ")}


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(1, 12)] * 3), limit=st.integers(1, 5))
def test_regions_are_ranked_disjoint_and_no_more_than_the_doubt(seed, shape, limit):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([1.0, 0.5, 0.5], shape).transpose(3, 0, 1, 2)
    label, error = p.argmax(0), 1 - p.max(0)
    maps = {"organ": p[1], "lesion": p[2]}
    every = regions(label, error, maps, [ORGAN, LESION], AFFINE, limit=10**6)
    assert [region.rank for region in every] == list(range(1, len(every) + 1))
    sizes = [region.expected_error_ml for region in every]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) <= error[error >= LEVELS[0]].sum() * VOXEL_ML + 1e-4 * len(sizes)
    assert len({region.ijk for region in every}) == len(every)
    for region in every:
        assert error[region.ijk] >= LEVELS[0]
        assert all(a <= i <= b < n for a, i, b, n in zip(*_box(region), shape, strict=True))
    assert regions(label, error, maps, [ORGAN, LESION], AFFINE, limit=limit) == every[:limit]


def _box(region):
    first, last = region.bounding_box
    return first, region.ijk, last
