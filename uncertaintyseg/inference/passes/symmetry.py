"""Symmetries of a voxel grid: which there are, and what they do to a patch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal, get_args

from torch import Tensor

from uncertaintyseg.errors import InputError

SymmetryName = Literal["none", "flips", "rotations", "cube"]
_EQUAL = 1.01
"""Voxel sizes whose ratio is at most this count as equal."""


@dataclass(frozen=True)
class Symmetry:
    """Exchanges axes, then reverses some.

    Attributes:
        permutation: axis `a` of what comes out is axis `permutation[a]` of what goes in.
        flips: axes of what comes out that run backwards, ascending.
    """

    permutation: tuple[int, ...]
    flips: tuple[int, ...] = ()

    @classmethod
    def identity(cls, axes: int) -> Symmetry:
        """The one that changes nothing."""
        return cls(tuple(range(axes)))

    @property
    def inverse(self) -> Symmetry:
        """The one that undoes it."""
        back = sorted(range(len(self.permutation)), key=self.permutation.__getitem__)
        return Symmetry(tuple(back), tuple(sorted(self.permutation[axis] for axis in self.flips)))

    @property
    def proper(self) -> bool:
        """Whether it is a rotation (determinant 1), not a mirror image."""
        crossings = sum(a > b for a, b in combinations(self.permutation, 2))
        return (crossings + len(self.flips)) % 2 == 0

    def after(self, first: Symmetry) -> Symmetry:
        """The symmetry that applies `first`, then this one."""
        flips = {a for a, source in enumerate(self.permutation) if source in first.flips} ^ set(self.flips)
        return Symmetry(tuple(first.permutation[axis] for axis in self.permutation), tuple(sorted(flips)))

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of what comes out for `shape` going in."""
        return tuple(shape[axis] for axis in self.permutation)

    def apply(self, tensor: Tensor) -> Tensor:
        """`[B, C, *spatial]` to `[B, C, *shape(spatial)]`."""
        turned = tensor.permute(0, 1, *(2 + axis for axis in self.permutation))
        return turned.flip([2 + axis for axis in self.flips]).contiguous() if self.flips else turned.contiguous()

    def invert(self, tensor: Tensor) -> Tensor:
        """`[B, C, *shape(spatial)]` back to `[B, C, *spatial]`."""
        return self.inverse.apply(tensor)


def group(symmetries: SymmetryName | Sequence[int], spacing: Sequence[float]) -> tuple[Symmetry, ...]:
    """Distinct symmetries of a grid that form a group, the identity first (METHODS 5.3).

    Args:
        symmetries: "none"; "flips", every axis reversed or not: 8 in space; "rotations", the proper ones of the cube:
            24; "cube", all of it: 48; or the axes that may be reversed, as (0, 1) for 4. Axes are exchanged only where
            their voxel sizes are equal within 1 %, so that "rotations" and "cube" mean the subgroup that the grid has:
            8 and 16 with slices thicker than their square pixels.
        spacing: voxel size of each axis, mm.

    Raises:
        InputError: for other symmetries, an axis that is not there, or a grid of which no axes can be exchanged where
            "rotations" or "cube" was asked for.
    """
    axes = tuple(range(len(spacing)))
    if isinstance(symmetries, str):
        if symmetries not in get_args(SymmetryName):
            raise InputError(
                f"symmetries '{symmetries}' do not exist; choose none, flips, rotations, cube or a list of axes."
            )
        if symmetries == "none":
            return (Symmetry.identity(len(axes)),)
        if symmetries == "flips":
            return _flips(axes, axes)
        turned = tuple(Symmetry(p, flip.flips) for p in _exchanges(spacing) for flip in _flips(axes, axes))
        return turned if symmetries == "cube" else tuple(symmetry for symmetry in turned if symmetry.proper)
    if any(axis not in axes for axis in symmetries):
        raise InputError(f"symmetries {list(symmetries)} name an axis that is not there; the axes are {list(axes)}.")
    return _flips(axes, tuple(sorted({int(axis) for axis in symmetries})))


def slice_turns(spacing: Sequence[float]) -> tuple[Symmetry, ...]:
    """The 16 passes of the paper's code: a flip of axis 0, of axis 1, and 0 to 3 quarter turns in their plane.

    Half of them repeat the others (METHODS A47), which leaves every average as it is.

    Raises:
        InputError: where the voxels of that plane are not square.
    """
    kinds = _kinds(spacing)
    if len(spacing) < 2 or kinds[0] != kinds[1]:
        raise InputError(f"the paper's passes turn axes 0 and 1 into each other, but {_differing(spacing)}.")
    axes = tuple(range(len(spacing)))
    quarter = Symmetry((1, 0, *axes[2:]), (0,))
    found = []
    for flip in _flips(axes, (0, 1)):
        turned = flip
        for _ in range(4):
            found.append(turned)
            turned = quarter.after(turned)
    return tuple(found)


def shared_divisor(symmetries: Sequence[Symmetry], divisor: int | Sequence[int]) -> int | tuple[int, ...]:
    """What patch sizes must be multiples of so that those of the turned patch are multiples of `divisor`."""
    if isinstance(divisor, int):
        return divisor
    axes = range(len(divisor))
    return tuple(math.lcm(*(divisor[s.permutation.index(axis)] for s in symmetries)) for axis in axes)


def _flips(axes: Sequence[int], some: Sequence[int]) -> tuple[Symmetry, ...]:
    subsets = (chosen for count in range(len(some) + 1) for chosen in combinations(some, count))
    return tuple(Symmetry(tuple(axes), chosen) for chosen in subsets)


def _exchanges(spacing: Sequence[float]) -> list[tuple[int, ...]]:
    """Orders of the axes that leave the voxel sizes as they are."""
    kinds = _kinds(spacing)
    if len(set(kinds)) == len(spacing):
        raise InputError(f"no axes can be exchanged: {_differing(spacing)}; choose symmetries 'flips'.")
    orders = permutations(range(len(spacing)))
    return [order for order in orders if all(kinds[axis] == kind for axis, kind in zip(order, kinds, strict=True))]


def _kinds(spacing: Sequence[float]) -> tuple[float, ...]:
    """For each axis the smallest of the voxel sizes that equal its own."""
    if not all(math.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"the spacing {tuple(spacing)} is not made of positive voxel sizes in mm.")
    leaders: list[float] = []
    for size in sorted(spacing):
        if not leaders or size > _EQUAL * leaders[-1]:
            leaders.append(size)
    return tuple(max(leader for leader in leaders if leader <= size) for size in spacing)


def _differing(spacing: Sequence[float]) -> str:
    sizes = ", ".join(f"{size:g} mm on axis {axis}" for axis, size in enumerate(spacing))
    return f"the voxel sizes differ ({sizes})"
