"""The smallest box around a mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from uncertaintyseg.review.boxes import box_of


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=1, max_dims=3, max_side=5), elements=st.booleans()))
def test_the_box_is_the_smallest_that_holds_the_mask(mask):
    if mask.any():
        assert box_of(mask) == ndimage.find_objects(mask.astype(np.uint8))[0]
    else:
        assert mask[box_of(mask)].size == 0
