"""Symmetries of the grid are groups, and do to a patch what their composition says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.symmetry import Symmetry, group, shared_divisor, slice_turns

CUBE, PRISM, BOX = (1.0, 1.0, 1.0), (0.8, 0.8, 3.0), (1.0, 2.0, 3.0)
PATCH = torch.arange(2.0 * 3 * 4 * 5).reshape(1, 2, 3, 4, 5)
any_symmetry = st.sampled_from(group("cube", CUBE))


def matrix(symmetry: Symmetry) -> np.ndarray:
    """Its signed permutation matrix: row a has the sign of axis a at the axis it comes from."""
    found = np.zeros((3, 3))
    for axis, source in enumerate(symmetry.permutation):
        found[axis, source] = -1 if axis in symmetry.flips else 1
    return found


@given(symmetry=any_symmetry)
def test_the_inverse_undoes(symmetry):
    turned = symmetry.apply(PATCH)
    assert tuple(turned.shape[2:]) == symmetry.shape(PATCH.shape[2:])
    assert torch.equal(symmetry.invert(turned), PATCH)
    assert np.array_equal(matrix(symmetry.inverse), np.linalg.inv(matrix(symmetry)))


@given(first=any_symmetry, second=any_symmetry)
def test_composition_is_one_after_the_other(first, second):
    both = second.after(first)
    assert torch.equal(both.apply(PATCH), second.apply(first.apply(PATCH)))
    assert np.array_equal(matrix(both), matrix(second) @ matrix(first))


@given(symmetry=any_symmetry)
def test_rotations_have_determinant_one(symmetry):
    assert symmetry.proper == (np.linalg.det(matrix(symmetry)) > 0)


@pytest.mark.parametrize(
    ("symmetries", "spacing", "order"),
    [
        ("none", BOX, 1),
        ("flips", BOX, 8),
        ("flips", (1.0, 1.0), 4),
        ("rotations", CUBE, 24),
        ("cube", CUBE, 48),
        ("cube", (1.0, 1.005, 1.01), 48),
        ("rotations", PRISM, 8),
        ("cube", PRISM, 16),
        ("cube", (1.0, 3.0, 1.0), 16),
        ("cube", (1.0, 1.008, 1.016), 16),
        ((), CUBE, 1),
        ((0,), CUBE, 2),
        ([2, 0, 2], BOX, 4),
    ],
)
def test_they_are_distinct_and_form_a_group(symmetries, spacing, order):
    found = group(symmetries, spacing)
    assert found[0] == Symmetry.identity(len(spacing))
    assert len(set(found)) == len(found) == order
    assert {a.after(b) for a, b in itertools.product(found, found)} == set(found)


def test_distinct_symmetries_show_distinct_patches():
    patch = torch.arange(27.0).reshape(1, 1, 3, 3, 3)
    assert len({tuple(s.apply(patch).flatten().tolist()) for s in group("cube", CUBE)}) == 48
    assert len({tuple(s.apply(patch).flatten().tolist()) for s in group("flips", CUBE)}) == 8


def test_axes_are_exchanged_only_where_voxels_are_equally_long():
    assert all(s.permutation[2] == 2 for s in group("cube", PRISM))
    assert any(s.permutation[:2] == (1, 0) for s in group("cube", PRISM))


@pytest.mark.parametrize("symmetries", ["cube", "rotations"])
def test_a_grid_of_which_no_axes_can_be_exchanged_is_refused(symmetries):
    with pytest.raises(InputError, match=r"1 mm on axis 0, 2 mm on axis 1, 3 mm on axis 2.*'flips'"):
        group(symmetries, BOX)


def test_the_papers_sixteen_passes_are_eight_twice():
    found = slice_turns(PRISM)
    assert len(found) == 16
    assert sorted(found.count(s) for s in set(found)) == [2] * 8
    assert all(s.permutation[2] == 2 and 2 not in s.flips for s in found)
    with pytest.raises(InputError, match="axes 0 and 1 into each other, but the voxel sizes differ"):
        slice_turns((1.0, 2.0, 1.0))


@pytest.mark.parametrize("symmetries", ["mirror", (3,), (-1,), ("x",)])
def test_symmetries_that_are_not_there_are_refused(symmetries):
    with pytest.raises(InputError, match="symmetries"):
        group(symmetries, CUBE)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_voxel_sizes_without_sense_are_refused(size):
    with pytest.raises(InputError, match="spacing"):
        group("cube", (1.0, 1.0, size))


def test_patches_that_are_turned_stay_divisible():
    divisor = (8, 4, 3)
    shared = shared_divisor(group("cube", PRISM), divisor)
    assert shared == (8, 8, 3)
    for symmetry in group("cube", PRISM):
        assert all(side % d == 0 for side, d in zip(symmetry.shape(shared), divisor, strict=True))
    assert shared_divisor(group("flips", CUBE), divisor) == divisor
    assert shared_divisor(group("cube", CUBE), 8) == 8
