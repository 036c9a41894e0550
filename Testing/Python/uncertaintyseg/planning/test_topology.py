"""Kernels, strides and patches: nnU-Net's rules, against plans worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.planning.topology import LOWEST, choose_patch, make_topology, nearest_patch

HALF, FLAT = (2, 2, 2), (2, 2, 1)


def test_a_hippocampus_of_cubic_voxels_is_halved_three_times_along_every_axis():
    topology = make_topology((1.0, 1.0, 1.0), (35, 50, 35), levels=5)
    assert topology.strides == ((1, 1, 1), HALF, HALF, HALF)
    assert set(topology.kernels) == {(3, 3, 3)}
    assert topology.padded((35, 50, 35)) == (40, 56, 40)


def test_a_prostates_slices_are_left_alone_until_the_pixels_are_half_as_long():
    topology = make_topology((0.6, 0.6, 3.6), (320, 320, 20), levels=6)
    assert topology.strides[:4] == ((1, 1, 1), FLAT, FLAT, HALF)
    assert topology.kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert topology.padded((320, 320, 20))[2] == 20


def test_ten_slices_of_ten_millimetres_stay_ten_while_pixels_are_less_than_half_as_long():
    topology = make_topology((1.0, 1.0, 10.0), (256, 256, 10), levels=6)
    for level, stride in enumerate(topology.strides[1:], start=1):
        above = 2 ** (level - 1)  # mm of a pixel on the level above, as long as the slices are not halved
        if 2 * above < 10:
            assert stride == FLAT, level
    assert [kernel[2] for kernel in topology.kernels[:4]] == [1, 1, 1, 3]


def test_a_ct_of_five_millimetres_is_halved_along_its_slices_from_the_third_time_on():
    topology = make_topology((0.8, 0.8, 5.0), (512, 512, 100), levels=6)
    assert topology.strides == ((1, 1, 1), FLAT, FLAT, HALF, HALF, HALF)


SIZES = st.tuples(*[st.integers(8, 600)] * 3)
LENGTHS = st.tuples(*[st.floats(0.3, 12.0)] * 3)


@given(SIZES, LENGTHS, st.integers(3, 6), st.integers(12, 24))
def test_every_patch_is_one_that_the_network_takes_and_no_larger_than_the_padded_scan(shape, spacing, levels, most):
    chosen = choose_patch(shape, spacing, levels, lambda patch, topology: math.prod(patch) <= 2**most)
    assert chosen is not None
    patch, topology = chosen
    assert math.prod(patch) <= 2**most
    assert 3 <= topology.stages <= levels
    whole = make_topology(spacing, shape, levels)
    for axis in range(3):
        assert patch[axis] % topology.divisor[axis] == 0
        assert patch[axis] // topology.divisor[axis] >= LOWEST
        assert patch[axis] < shape[axis] + max(whole.divisor[axis], topology.divisor[axis])
    for kernel, stride in zip(topology.kernels, topology.strides, strict=True):
        assert all(
            size in (1, 3) and step in (1, 2) and size >= step for size, step in zip(kernel, stride, strict=True)
        )


@given(SIZES, LENGTHS)
def test_the_nearest_patch_is_one_that_is_taken_as_it_is(patch, spacing):
    nearest = nearest_patch(patch, spacing, 6)
    assert all(0 <= mine - asked < 64 for mine, asked in zip(nearest, patch, strict=True))
    assert nearest_patch(nearest, spacing, 6) == nearest


def test_where_nothing_fits_there_is_no_patch():
    assert choose_patch((64, 64, 64), (1, 1, 1), 4, lambda patch, topology: False) is None


@pytest.mark.parametrize("shape", [(5, 9, 9), (9, 9, 4)])
def test_an_axis_too_short_to_halve_is_not_halved(shape):
    topology = make_topology((1.0, 1.0, 1.0), shape, levels=5)
    short = min(range(3), key=lambda axis: shape[axis])
    assert topology.divisor[short] == 1
    assert topology.stages == 3
