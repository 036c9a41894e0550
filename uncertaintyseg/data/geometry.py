"""Voxel grids in space: spacing, volume, and moving a volume from one grid to another.

An affine maps voxel indices to millimetres in RAS+ space, as nibabel and MONAI have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import ArrayLike

_SLAB_VOXELS = 1 << 21  # target voxels per grid_sample call: a 24 MB sampling grid


def spacing_mm(affine: ArrayLike) -> tuple[float, ...]:
    """Voxel size along each array axis, in mm."""
    return tuple(float(s) for s in np.linalg.norm(_matrix(affine)[:3, :3], axis=0))


def voxel_volume_ml(affine: ArrayLike) -> float:
    """Volume of one voxel, in mL."""
    return float(abs(np.linalg.det(_matrix(affine)[:3, :3]))) / 1000.0


class LatticeMap(NamedTuple):
    """Two grids whose voxels coincide: target index `i` along axis `d` is source index `sign[d] * i + shift[d]`."""

    axes: tuple[int, ...]
    """Source axis that each target axis runs along."""
    sign: tuple[int, ...]
    """1, or -1 where the target axis runs the other way."""
    shift: tuple[int, ...]
    """Source index of target index 0."""


def lattice_map(
    src_affine: ArrayLike, dst_affine: ArrayLike, dst_shape: Sequence[int], *, tolerance: float = 1e-3
) -> LatticeMap | None:
    """How target voxels fall on source voxels, or None where they fall between them.

    They coincide where the grids differ by axis order, axis direction and whole-voxel shifts (cropping, padding) only,
    and no corner is off by more than `tolerance` voxels (float32 affines in files are off by about 1e-5).
    """
    to_src = np.linalg.inv(_matrix(src_affine)) @ _matrix(dst_affine)
    whole = np.round(to_src)
    turn = np.abs(whole[:3, :3])
    if not (np.all(turn.sum(0) == 1) and np.all(turn.sum(1) == 1)):
        return None
    corners = np.stack(np.meshgrid(*((0, n - 1) for n in dst_shape), [1], indexing="ij")).reshape(4, -1)
    if np.abs((to_src - whole) @ corners).max() > tolerance:
        return None
    axes = turn.argmax(0)
    sign = whole[axes, range(3)]
    return LatticeMap(*(tuple(int(v) for v in values) for values in (axes, sign, whole[axes, 3])))


def resample(
    volume: torch.Tensor,
    src_affine: ArrayLike,
    dst_affine: ArrayLike,
    dst_shape: Sequence[int],
    *,
    nearest: bool = False,
) -> torch.Tensor:
    """Resample every channel onto another grid: linear, and 0 outside the source's field of view.

    Where the voxels of both grids coincide nothing is interpolated, so labels and maps survive flips, permutations,
    crops and pads exactly, in any dtype. Elsewhere the volume must be floating point, unless the nearest voxel is asked
    for. A voxel's own extent belongs to the field of view, and within it values are held at the border, as ITK does.

    Args:
        volume: `[C, X, Y, Z]`.
        src_affine: 4x4 affine of `volume`.
        dst_affine: 4x4 affine of the target grid.
        dst_shape: `(X', Y', Z')` of the target grid.
        nearest: take the value of the nearest voxel, for labels (whole numbers below 2^24).

    Returns:
        `[C, X', Y', Z']` on the device and in the dtype of `volume`.

    Raises:
        TypeError: An integer volume would have to be interpolated.
    """
    volume = volume.as_subclass(torch.Tensor)
    lattice = lattice_map(src_affine, dst_affine, dst_shape)
    if lattice is not None:
        return copy_lattice(volume, lattice, dst_shape)
    if not (nearest or volume.is_floating_point()):
        raise TypeError(f"cannot interpolate a {volume.dtype} volume: convert it to float, or to one channel a class")
    to_src = np.linalg.inv(_matrix(src_affine)) @ _matrix(dst_affine)
    return _interpolate(volume, to_src, dst_shape, "nearest" if nearest else "bilinear")


def covers(src_affine: ArrayLike, src_shape: Sequence[int], dst_affine: ArrayLike, dst_shape: Sequence[int]) -> bool:
    """Whether the centre of every target voxel lies in the source's field of view."""
    corners = np.stack(np.meshgrid(*((0, n - 1) for n in dst_shape), [1], indexing="ij")).reshape(4, -1)
    index = (np.linalg.inv(_matrix(src_affine)) @ _matrix(dst_affine) @ corners)[:3]
    return bool(np.all((index >= -0.5) & (index <= np.array(src_shape)[:, None] - 0.5)))


def copy_lattice(volume: torch.Tensor, lattice: LatticeMap, dst_shape: Sequence[int]) -> torch.Tensor:
    """Copy `[C, X, Y, Z]` onto the target grid of a lattice map, with zeros where the source does not reach."""
    moved = volume.permute(0, *(a + 1 for a in lattice.axes))
    moved = moved.flip([d + 1 for d, sign in enumerate(lattice.sign) if sign < 0])
    out = volume.new_zeros((volume.shape[0], *dst_shape))
    src, dst = [slice(None)], [slice(None)]
    for size, wanted, sign, shift in zip(moved.shape[1:], dst_shape, lattice.sign, lattice.shift, strict=True):
        offset = shift if sign > 0 else size - 1 - shift
        first, last = max(0, -offset), min(wanted, size - offset)
        if first >= last:
            return out
        dst.append(slice(first, last))
        src.append(slice(first + offset, last + offset))
    out[tuple(dst)] = moved[tuple(src)]
    return out


def _interpolate(volume: torch.Tensor, to_src: np.ndarray, dst_shape: Sequence[int], mode: str) -> torch.Tensor:
    device, size = volume.device, volume.shape[1:]
    source = volume[None].float()
    out = volume.new_zeros((volume.shape[0], *dst_shape))
    # index[s] = a[s][i] + b[s][j] + c[s][k], summed from three vectors per source axis
    parts = [
        [
            torch.as_tensor(to_src[s, d] * np.arange(n), dtype=torch.float32, device=device)
            for d, n in enumerate(dst_shape)
        ]
        for s in range(3)
    ]
    slab = max(1, _SLAB_VOXELS // max(1, dst_shape[1] * dst_shape[2]))
    for start in range(0, dst_shape[0], slab):
        index = [
            a[start : start + slab, None, None] + (b[:, None] + c[None, :] + float(to_src[s, 3]))
            for s, (a, b, c) in enumerate(parts)
        ]
        inside = torch.ones_like(index[0], dtype=torch.bool)
        for axis, n in zip(index, size, strict=True):
            inside &= (axis >= -0.5) & (axis <= n - 0.5)
        # grid_sample wants the last axis first, scaled to [-1, 1] between the centres of the outermost voxels
        grid = torch.stack([2 * axis / max(1, n - 1) - 1 for axis, n in zip(index, size, strict=True)][::-1], dim=-1)
        sampled = F.grid_sample(source, grid[None], mode=mode, padding_mode="border", align_corners=True)
        out[:, start : start + slab] = (sampled[0] * inside).to(out.dtype)
    return out


def _matrix(affine: ArrayLike) -> np.ndarray:
    return np.asarray(affine, dtype=np.float64)
