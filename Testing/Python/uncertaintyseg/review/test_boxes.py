"""Walking over volumes by their parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from uncertaintyseg.inference.volumes import Block, BoxVolume
from uncertaintyseg.review import boxes
from uncertaintyseg.review.boxes import box_of, islands, parts, slabs

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=1, max_dims=3, max_side=5), elements=st.booleans())


@given(MASKS)
def test_the_box_is_the_smallest_that_holds_the_mask(mask):
    if mask.any():
        assert box_of(mask) == ndimage.find_objects(mask.astype(np.uint8))[0]
    else:
        assert mask[box_of(mask)].size == 0


@given(MASKS)
def test_islands_hold_all_of_a_mask_once_and_have_no_empty_plane(mask):
    seen = np.zeros(mask.shape, int)
    for box in islands(mask):
        seen[box] += 1
        assert box_of(mask[box]) == tuple(slice(0, size) for size in mask[box].shape)
    assert (seen[mask] == 1).all()
    assert seen.max(initial=0) <= 1


@pytest.mark.parametrize("voxels", [1, 40, 100, 10**6])
def test_slabs_and_parts_cover_a_volume_once(monkeypatch, voxels):
    monkeypatch.setattr(boxes, "SLAB", voxels)
    values = np.random.default_rng(0).random((7, 5, 6))
    values[:2] = values[:, :, 4:] = 0
    kept = BoxVolume(values.shape, [Block((2, 0, 0), values[2:, :, :3]), Block((3, 1, 3), values[3:, 1:, 3:4])])
    for given_map in (values, kept):
        box = (slice(1, 7), slice(0, 5), slice(2, 6))
        found = np.zeros((6, 5, 4))
        for here, part in parts(given_map, box):
            assert part.size <= max(voxels, 20)
            found[here] += part
        np.testing.assert_array_equal(found, np.asarray(given_map)[box])
    assert sum(values[slab].size for slab in slabs(values.shape)) == values.size
