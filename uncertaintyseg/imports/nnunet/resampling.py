"""Volumes and labels from one spacing to another, as nnU-Net's two resampling functions do it (NETWORKS 1.6).

A volume keeps its field of view: `n` voxels become `m`, so voxel `i` of the new grid has its centre at
`(i + 1/2) n / m - 1/2` of the old one, with values held at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import ArrayLike
from skimage.transform import resize

from uncertaintyseg.imports.nnunet.plans import Resampling

_SAME = 1e-6
"""Relative difference of two spacings that count as equal: affines are rounded."""


def new_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """How many voxels a volume has at another spacing."""
    return tuple(round(old / new * size) for old, new, size in zip(spacing, target, shape, strict=True))


def separate_axis(how: Resampling, spacing: Sequence[float], target: Sequence[float]) -> int | None:
    """The axis along which the nearest voxel is taken and nothing interpolated: much longer than both others."""
    if how.force_separate_z is False:
        return None
    deciding = spacing
    if how.force_separate_z is None:
        long = [s for s in (spacing, target) if max(s) / min(s) > how.separate_z_anisotropy_threshold]
        if not long:
            return None
        deciding = long[0]
    longest = np.flatnonzero(np.asarray(deciding) >= max(deciding) * (1 - _SAME))
    return int(longest[0]) if len(longest) == 1 else None


def resample_image(
    image: np.ndarray, shape: Sequence[int], spacing: Sequence[float], target: Sequence[float], how: Resampling
) -> np.ndarray:
    """Resample channels `[channels, *S]` to `[channels, *shape]`, float32."""
    if tuple(image.shape[1:]) == tuple(shape):
        return image
    axis = separate_axis(how, spacing, target)
    resized = _spline(how.order) if how.function == "resample_data_or_seg_to_shape" else _linear
    return np.stack([_along(channel, shape, axis, resized) for channel in image]).astype(np.float32, copy=False)


def resample_label(
    label: np.ndarray, shape: Sequence[int], spacing: Sequence[float], target: Sequence[float], how: Resampling
) -> np.ndarray:
    """Resample class ids `[*S]` to `[*shape]`: at each voxel the id whose resampled indicator is largest.

    Where two are equal, such as half-way between two labels, the smaller id has it; with the first function only if
    neither is that of the nearest voxel of the old grid.
    """
    if tuple(label.shape) == tuple(shape):
        return label
    axis, with_splines = separate_axis(how, spacing, target), how.function == "resample_data_or_seg_to_shape"
    resized = _spline(how.order) if with_splines else _coarse
    nearest = _along(label.astype(np.float64), shape, axis, _spline(0)).astype(label.dtype) if with_splines else None
    best = np.full(shape, -np.inf)
    found = np.zeros(shape, label.dtype)
    for value in np.unique(label):
        share = _along((label == value).astype(np.float64), shape, axis, resized)
        wins = share > best
        if nearest is not None:
            wins |= (share == best) & (nearest == value)
        found[wins] = value
        np.maximum(best, share, out=best)
    return found


def resampled_affine(affine: ArrayLike, old: Sequence[int], new: Sequence[int]) -> np.ndarray:
    """Affine of a volume after resampling from `old` to `new` voxels along each axis."""
    scale = np.divide(old, new)
    step = np.diag([*scale, 1.0])
    step[:3, 3] = (scale - 1) / 2
    return np.asarray(affine, dtype=np.float64) @ step


Resized = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


def _spline(order: int) -> Resized:
    def resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return resize(array.astype(np.float64, copy=False), shape, order, mode="edge", anti_aliasing=False)

    return resized


def _linear(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return F.interpolate(tensor[None, None], shape, mode="trilinear" if array.ndim == 3 else "bilinear")[0, 0].numpy()


def _coarse(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """In the steps of half precision, in which nnU-Net compares labels."""
    return _linear(1000 * array, shape).astype(np.float16)


def _along(array: np.ndarray, shape: Sequence[int], axis: int | None, resized: Resized) -> np.ndarray:
    """A volume resized as a whole, or slice by slice with the nearest slice along `axis`."""
    if axis is None:
        return resized(array, tuple(shape))
    flat = tuple(size for a, size in enumerate(shape) if a != axis)
    slices = np.moveaxis(array, axis, 0)
    old, wanted = len(slices), shape[axis]
    place = old / wanted * (np.arange(wanted) + 0.5) - 0.5
    nearest = np.clip(np.floor(place + 0.5), 0, old - 1).astype(np.intp)  # half-way belongs to the second of two
    kept = {index: resized(slices[index], flat) for index in np.unique(nearest)}
    return np.moveaxis(np.stack([kept[index] for index in nearest]), 0, axis)
