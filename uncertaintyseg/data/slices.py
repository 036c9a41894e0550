"""Volumes, images and clips as slices of one size, for networks that look at slices (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation
from torch import Tensor

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.time_axis import is_clip
from uncertaintyseg.errors import InputError

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Ways to slice a volume: the axis of R, A, S that is left out of the slice."""
_SAME = 1.05
"""Voxel sizes of a ratio up to this count as equal."""


def is_flat(scan: MetaTensor) -> bool:
    """Whether a scan `[channels, X, Y, Z]` is an image or a clip, whose slices are its own."""
    return is_clip(scan) or scan.shape[-1] == 1


def thickest(scan: MetaTensor) -> str:
    """The plane of the slices that a volume was acquired in, as its voxels tell; axial where they are cubes."""
    sizes = spacing_mm(_turned(scan).affine)
    name = max(PLANES, key=lambda plane: sizes[PLANES[plane]])
    others = [size for plane, size in zip(PLANES, sizes, strict=True) if plane != name]
    return name if sizes[PLANES[name]] > _SAME * max(others) else "axial"


class OntoSlicesd(MapTransform):
    """Turn the "image" (and "label") so that slices follow along the third axis, each at most `size` pixels long.

    A volume is first turned to right, front, up. The longer side of a slice becomes `size` pixels, the other keeps its
    proportion in mm, and every slice of the image is scaled to 0..1 by itself; a constant one becomes 0. Labels take
    the nearest pixel. The grid is that of the voxels' edges, so that nothing is shifted.

    Args:
        size: pixels of the longer side.
        plane: a name of `PLANES`; None for images and clips, whose slices are their own.
        clip: lowest and highest intensity that count, cut off before the scaling; None: all.
    """

    def __init__(self, size: int, plane: str | None = None, clip: Sequence[float] | None = None) -> None:
        super().__init__(("image", "label"), allow_missing_keys=True)
        if plane is not None and plane not in PLANES:
            raise InputError(f"the plane '{plane}' is unknown; choose {', '.join(PLANES)}.")
        self.size, self.plane, self.clip = size, plane, clip

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._sliced(data[key], label=key == "label")
        return data

    def _sliced(self, scan: MetaTensor, *, label: bool) -> MetaTensor:
        values, affine = scan.as_tensor(), np.asarray(scan.affine, dtype=np.float64)
        if self.plane is not None:
            turned = _turned(scan)
            last = PLANES[self.plane]
            order = [axis for axis in range(3) if axis != last] + [last]
            values = turned.as_tensor().permute(0, *(axis + 1 for axis in order))
            affine = np.asarray(turned.affine, dtype=np.float64)[:, [*order, 3]]
        if not label and self.clip is not None:
            values = values.clamp(*self.clip)
        sides = np.array(values.shape[1:3])
        extents = sides * spacing_mm(affine)[:2]
        wanted = np.maximum(1, np.round(extents * self.size / extents.max())).astype(int)
        found = _resized(values, wanted, label=label)
        steps = sides / wanted
        affine = affine.copy()
        affine[:, 3] += affine[:, :2] @ ((steps - 1) / 2)
        affine[:, :2] *= steps
        return MetaTensor(found if label else _to_unit(found), affine=torch.from_numpy(affine), meta=_kept(scan))


def stored_place(scan: MetaTensor, plane: str | None, place: int) -> tuple[int, int]:
    """Axis of a stored scan that its slices follow along, and the voxel on it at which one of them lies.

    Args:
        scan: as it was read.
        plane: that it was sliced in; None for images and clips.
        place: of the slice in `OntoSlicesd`'s order, from 0.
    """
    if plane is None:
        return 2, place
    axes = nib.io_orientation(np.asarray(scan.affine)).astype(int)
    axis = axes[:, 0].tolist().index(PLANES[plane])
    return axis, place if axes[axis, 1] > 0 else scan.shape[1 + axis] - 1 - place


def padded(slices: Tensor, size: int) -> Tensor:
    """Slices `[..., h, w]` amid zeros of `[..., size, size]`, as a window lies over a smaller scan."""
    missing = [(size - side, (size - side) // 2) for side in slices.shape[-2:]]
    return F.pad(slices, [n for rest, before in reversed(missing) for n in (before, rest - before)])


def _turned(scan: MetaTensor) -> MetaTensor:
    """Its axes to right, front, up."""
    return Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(scan)


def _resized(values: Tensor, wanted: np.ndarray, *, label: bool) -> Tensor:
    """Slices of `[C, X, Y, N]` with other sides; made smaller, a pixel is the mean of what it covers."""
    if tuple(values.shape[1:3]) == tuple(wanted):
        return values
    each = values.movedim(-1, 0).float()
    how: dict[str, Any] = {"mode": "nearest-exact"} if label else {"mode": "bilinear", "antialias": True}
    return F.interpolate(each, size=wanted.tolist(), **how).movedim(0, -1).to(values.dtype)


def _to_unit(values: Tensor) -> Tensor:
    low, high = values.amin((0, 1, 2)), values.amax((0, 1, 2))
    return (values - low) / torch.where(high > low, high - low, 1)


def _kept(scan: MetaTensor) -> dict[str, Any]:
    return {key: value for key, value in scan.meta.items() if key not in ("affine", "original_affine", "spatial_shape")}
