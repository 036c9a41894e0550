"""A scan that does not fit is named with its size."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME
from uncertaintyseg.inference.described import sized


@pytest.mark.parametrize(
    ("slices", "about", "size"),
    [
        (3, {}, "10 x 12 x 8 mm"),
        (1, {}, "4 x 5 x 1 voxels"),
        (1, {SPACING_KNOWN: False}, "4 x 5 x 1 voxels"),
        (3, {AXIS: TIME}, "4 x 5 x 3 voxels"),
    ],
)
def test_only_of_a_volume_it_is_told_in_mm(slices, about, size):
    scan = MetaTensor(torch.zeros(1, 4, 5, slices), affine=2.5 * torch.eye(4), meta={"filename_or_obj": "a", **about})
    assert sized(scan) == f"a: {size}"
