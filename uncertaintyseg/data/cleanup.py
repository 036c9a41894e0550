"""Morphological clean-up of a label volume (METHODS 6). Off unless asked for: figures are of what a model said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from uncertaintyseg.errors import InputError


def clean_up(
    label: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    closing_mm: float = 0.0,
    smallest: float = 0.0,
    unit: Literal["mL", "mm2", "px"] = "mL",
    largest: Mapping[int, int] | None = None,
    clip: bool = False,
) -> np.ndarray:
    """Close gaps, then drop small components, then keep the largest ones, structure by structure in order of their ids.

    Closing takes background only: a structure never grows into another. An axis of length 1 is left out of it: a slice
    is closed by discs. Components are connected by faces. A structure of which nothing is large enough vanishes.

    Args:
        label: class ids `[*S]`.
        spacing_mm: voxel size along each axis.
        closing_mm: radius of the ball that closes gaps; 0 leaves them.
        smallest: components below this size become background.
        unit: of that size: "mL" of volumes, "mm2" of images, "px" (pixels) of those without a spacing.
        largest: by class id, how many of its components stay, the largest ones (of equal ones the first); others keep
            all of theirs.
        clip: the third axis is time, which nothing goes on along: anything but leaving the label as it is, is refused.

    Returns:
        A cleaned copy.

    Raises:
        InputError: for a spacing that does not fit the label, a negative size, fewer components than one, or a clip to
            clean.
    """
    if len(spacing_mm) != label.ndim or not all(0 < side < np.inf for side in spacing_mm):
        raise InputError(f"a label with {label.ndim} axes needs as many positive voxel sizes, not {list(spacing_mm)}.")
    for name, value in (("closing_mm", closing_mm), ("smallest", smallest)):
        if not 0 <= value < np.inf:
            raise InputError(f"'{name}' is a size of 0 or more, not {value}.")
    largest = largest or {}
    if any(count < 1 for count in largest.values()):
        raise InputError(f"'largest' keeps 1 component or more, not {min(largest.values())}.")
    if clip and (closing_mm or smallest or largest):
        raise InputError("a clip's third axis is time: clean its frames as images.")
    voxel = {"mL": float(np.prod(spacing_mm)) / 1000, "mm2": float(np.prod(spacing_mm[:2])), "px": 1.0}[unit]
    cleaned = label.copy()
    for class_id in np.unique(label[label != 0]):
        if closing_mm:
            cleaned[_closed(cleaned == class_id, spacing_mm, closing_mm) & (cleaned == 0)] = class_id
        inside = cleaned == class_id
        cleaned[inside & ~_large(inside, smallest / voxel, largest.get(int(class_id)))] = 0
    return cleaned


def _closed(mask: np.ndarray, spacing_mm: Sequence[float], radius: float) -> np.ndarray:
    """Closing by a ball: grow to all that lies within the radius, then give back all within it of the outside."""
    thin = tuple(axis for axis, size in enumerate(mask.shape) if size == 1)
    if thin:
        sides = [side for axis, side in enumerate(spacing_mm) if axis not in thin]
        return np.expand_dims(_closed(mask.squeeze(thin), sides, radius), thin) if sides else mask
    margin = [int(radius / side) + 1 for side in spacing_mm]
    padded = np.pad(mask, [(by, by) for by in margin])  # so that the edge of the volume is no obstacle
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= radius
    closed = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > radius
    return closed[tuple(slice(by, -by) for by in margin)]


def _large(mask: np.ndarray, least: float, most: int | None) -> np.ndarray:
    """The components of at least so many voxels, or so many of them, the largest ones."""
    components, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(components.ravel())[1:]
    kept = sizes >= least - 1e-6  # a volume in mL is rarely a whole number of voxels in binary
    if most is not None:
        kept[np.argsort(-sizes, kind="stable")[most:]] = False
    return np.concatenate([[False], kept])[components]
