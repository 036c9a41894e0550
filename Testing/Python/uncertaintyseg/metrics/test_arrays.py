"""Blocks and boxes of volumes."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import blocks, bounding_box, check_finite, check_shapes


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 25])
def test_blocks_cover_every_element_once(size):
    seen = [i for part in blocks(size, 10) for i in range(size)[part]]
    assert seen == list(range(size))


def test_a_box_holds_the_mask_and_its_margin_within_the_volume():
    mask = np.zeros((20, 20, 6), bool)
    mask[5:8, 1, 2:6] = True
    assert bounding_box(mask, (1, 1, 1)) == np.s_[5:8, 1:2, 2:6]
    x, y, z = bounding_box(mask, (1.0, 2.0, 5.0), margin_mm=3)
    assert (x.start, x.stop, y.start, y.stop, z.start) == (2, 11, 0, 4, 1)
    assert mask[x, y, z].shape == (9, 4, 5)
    assert bounding_box(np.zeros((2, 2), bool), (1, 1)) is None


def test_other_shapes_and_values_that_say_nothing_are_refused():
    with pytest.raises(InputError, match=r"the risk map has shape \(2, 3\), not \(3, 2\)"):
        check_shapes("the risk map", (2, 3), (3, 2))
    with pytest.raises(InputError, match="the risk map is NaN or infinite in 2 voxels"):
        check_finite("the risk map", np.array([0, np.nan, np.inf]))
