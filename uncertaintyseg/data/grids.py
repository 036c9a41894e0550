"""The axes of voxel grids, and in what two grids differ. numpy alone: small processes import it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def skew(affine: ArrayLike) -> float:
    """How far a grid is from rectangular, as ITK measures it: the largest element of `U U^T - I`, U the unit axes."""
    axes = _unit_axes(affine)
    return float(np.abs(axes @ axes.T - np.eye(3)).max())


def axis_angle(affine: ArrayLike) -> float:
    """The angle between two axes that is farthest from a right one, in degrees up to 90."""
    axes = _unit_axes(affine)
    return float(np.rad2deg(np.arccos(min(1.0, np.abs(axes.T @ axes - np.eye(3)).max()))))


def rectangular(affine: ArrayLike) -> np.ndarray:
    """The closest grid with right angles: same origin and voxel size, axes turned as little as possible."""
    squared = np.array(affine, dtype=np.float64)
    left, _, right = np.linalg.svd(_unit_axes(affine))
    squared[:3, :3] = left @ right * spacing_of(affine)
    return squared


def grid_difference(
    affine: ArrayLike, shape: Sequence[int], other_affine: ArrayLike, other_shape: Sequence[int], *, other: str
) -> str:
    """In what a grid differs from another, whatever the order and direction of its axes, for a message.

    Args:
        affine: 4x4, voxel to mm.
        shape: `(X, Y, Z)`.
        other_affine: 4x4 of the other.
        other_shape: of the other.
        other: what the other is called.

    Returns:
        Such as "turned by 3 degrees, spacing 1 x 1 x 2 mm where the scan has 1 x 1 x 1".
    """
    to_other = np.linalg.inv(_unit_axes(other_affine)) @ _unit_axes(affine)
    orders = itertools.permutations(range(3))
    along = list(max(orders, key=lambda order: np.abs(to_other[range(3), order]).sum()))  # each axis of the other
    signs = np.sign(to_other[range(3), along])
    turn = to_other[:, along] * signs
    degrees = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    spacing, other_spacing = spacing_of(affine)[along], spacing_of(other_affine)
    size = tuple(shape[axis] for axis in along)
    first = np.array([0.0, 0.0, 0.0, 1.0])  # the voxel that lies where the other has its first
    first[along] = [0 if sign > 0 else n - 1 for sign, n in zip(signs, size, strict=True)]
    origin, other_origin = (np.asarray(affine) @ first)[:3], np.asarray(other_affine)[:3, 3]
    apart = float(np.linalg.norm(origin - other_origin))
    said = []
    if degrees > 0.01:
        said.append(f"turned by {degrees:.3g} degrees")
    if not np.allclose(spacing, other_spacing, rtol=1e-4):
        said.append(f"spacing {_by(spacing)} mm where {other} has {_by(other_spacing)}")
    if apart > 1e-3 * other_spacing.min():
        said.append(f"origin ({_comma(origin)}) mm, {apart:.3g} mm from that of {other} ({_comma(other_origin)})")
    if size != tuple(other_shape):
        said.append(f"{_by(size)} voxels where {other} has {_by(other_shape)}")
    return ", ".join(said) or "by rounding"


def _unit_axes(affine: ArrayLike) -> np.ndarray:
    return np.asarray(affine, dtype=np.float64)[:3, :3] / spacing_of(affine)


def spacing_of(affine: ArrayLike) -> np.ndarray:
    """Voxel size along each array axis, in mm."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{v:.5g}" for v in values)


def _comma(values: Sequence[float]) -> str:
    return ", ".join(f"{v:.5g}" for v in values)
