"""The shape of a network and of its patches: which axis is halved how often, and what its kernels reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

THICK = 2.0
"""An axis whose voxels are more than so many times as long as the shortest is left alone until they are not."""
LOWEST = 4
"""Voxels that every axis keeps on the lowest level."""
LEVELS = 3
"""The fewest that MONAI's DynUNet has."""
SMALLEST = 2 * LOWEST
"""Voxels below which an axis of a patch is never cut."""

ALONE = math.inf
"""Spacing from image to image: a network looks at each alone, with kernels of 1 and strides of 1 along that axis."""

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Topology:
    """Kernels and strides of each level, the full resolution first; axes run right, forward and up (RAS+)."""

    kernels: tuple[Sizes, ...]
    strides: tuple[Sizes, ...]

    @property
    def divisor(self) -> Sizes:
        """Sizes of patches are multiples of this."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def stages(self) -> int:
        """How many levels there are."""
        return len(self.strides)

    def padded(self, shape: Sequence[int]) -> Sizes:
        """The smallest patch that holds a shape."""
        return tuple(-(-size // step) * step for size, step in zip(shape, self.divisor, strict=True))


def make_topology(spacing: Sequence[float], shape: Sequence[int], levels: int) -> Topology:
    """Kernels and strides for patches of about a shape, by nnU-Net's rules (Isensee et al. 2021).

    From level to level an axis is halved where at least `LOWEST` voxels are left of it and its voxels are at most
    `THICK` times as long as the shortest of the axes that can be halved. Kernels are 1 along an axis as long as its
    voxels are more than `THICK` times as long as the shortest of all, else 3.

    Args:
        spacing: in mm.
        shape: in voxels.
        levels: at most.
    """
    size, length = list(shape), list(spacing)
    strides: list[Sizes] = [(1, 1, 1)]
    kernels: list[Sizes] = [_kernel((1, 1, 1), length, (1, 1, 1))]
    while len(strides) < max(levels, LEVELS):
        free = [axis for axis in range(3) if size[axis] >= 2 * LOWEST]
        shortest = min((length[axis] for axis in free), default=0.0)
        halved = [axis for axis in free if length[axis] <= THICK * shortest]
        if not halved and len(strides) >= LEVELS:
            break
        step: Sizes = tuple(2 if axis in halved else 1 for axis in range(3))
        size = [-(-n // s) for n, s in zip(size, step, strict=True)]
        length = [mm * s for mm, s in zip(length, step, strict=True)]
        strides.append(step)
        kernels.append(_kernel(kernels[-1], length, step))
    return Topology(tuple(kernels), tuple(strides))


def _kernel(above: Sizes, length: Sequence[float], step: Sizes) -> Sizes:
    """3 where the level above has it, where an axis is halved, and where voxels are not thick."""
    wide = [above[axis] == 3 or step[axis] > 1 or length[axis] <= THICK * min(length) for axis in range(3)]
    return tuple(3 if yes else 1 for yes in wide)


def choose_patch(
    shape: Sequence[int],
    spacing: Sequence[float],
    levels: int,
    fits: Callable[[Sizes, Topology], bool],
) -> tuple[Sizes, Topology] | None:
    """The largest patch that fits: a whole scan of the median shape, cut bit by bit along its longest side in mm.

    Args:
        shape: median of the scans, in voxels.
        spacing: in mm.
        levels: of the network, at most.
        fits: whether patch and topology can be afforded.

    Returns:
        None where not even the smallest fits.
    """
    size = tuple(shape)
    while True:
        topology = make_topology(spacing, size, levels)
        patch = topology.padded(size)
        if fits(patch, topology):
            return patch, topology
        smaller = [
            # A step of the divisor; what no longer can be halved as often is cut to what can be halved once less.
            (*size[:axis], max(patch[axis] - topology.divisor[axis], SMALLEST), *size[axis + 1 :])
            for axis in sorted(range(3), key=lambda axis: -patch[axis] * spacing[axis])
            if min(patch[axis], size[axis]) > SMALLEST
        ]
        smaller = [option for option in smaller if math.prod(option) < math.prod(size)]
        if not smaller:
            return None
        size = smaller[0]


def nearest_patch(patch: Sequence[int], spacing: Sequence[float], levels: int) -> Sizes:
    """The patch itself where a network takes it, else the next larger one that it takes."""
    return make_topology(spacing, patch, levels).padded(patch)
