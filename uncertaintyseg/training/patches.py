"""Patches of cases: what is augmented of a scan that is much larger than the training window."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandAffined, Randomizable
from monai.transforms.utils import create_rotate
from torch import Tensor

VOXELS = "voxels"
"""Key of a case under which `StructureVoxels` keeps where its structures are."""
MOST_VOXELS = 10_000
"""Kept of a structure in a case, at random: patches centred on them see all of it."""


class StructureVoxels(MapTransform):
    """Add under "voxels" where a label's structures are: class to indices `[n, 3]`, at most `MOST_VOXELS` each.

    The same label gives the same voxels.
    """

    def __init__(self) -> None:
        super().__init__("label")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        label = np.asarray(data["label"])[0]
        inside = np.flatnonzero(label > 0)
        classes, rng, found = label.reshape(-1)[inside].astype(np.int64), np.random.RandomState(0), {}
        for class_id in np.unique(classes):
            own = inside[classes == class_id]
            if len(own) > MOST_VOXELS:
                own = np.sort(own[rng.randint(len(own), size=MOST_VOXELS)])
            found[int(class_id)] = torch.from_numpy(np.stack(np.unravel_index(own, label.shape), 1).astype(np.int32))
        return {**data, VOXELS: found}


class PatchDrawn(Randomizable, MapTransform):
    """Draw the window of a training step out of a case, with a margin that the affine augmentation turns it in.

    A patch lies on a structure with probability `foreground`: its class is drawn first, evenly over those of the case,
    then the voxel in its middle. Else it lies anywhere. It stays within the scan where that is large enough; what
    it lacks, and what the margin lacks, are the scan's border voxels again, as at inference.

    Args:
        crop: size of the window.
        margin: voxels on either side of it, for each axis.
        foreground: share of the patches on a structure.
    """

    def __init__(self, crop: Sequence[int], margin: Sequence[int], foreground: float) -> None:
        MapTransform.__init__(self, ("image", "label"))
        self.crop, self.margin, self.foreground = tuple(crop), tuple(margin), foreground
        self._start = (0, 0, 0)

    def randomize(self, data: Mapping[Hashable, Any]) -> None:
        """Choose where the window begins; negative where the scan is smaller."""
        shape, voxels = data["label"].shape[1:], data.get(VOXELS)
        last = [size - side for size, side in zip(shape, self.crop, strict=True)]
        if voxels and self.R.rand() < self.foreground:
            own = voxels[sorted(voxels)[self.R.randint(len(voxels))]]
            middle = own[self.R.randint(len(own))].tolist()
            start = [
                min(max(at - side // 2, 0), max(end, 0)) for at, side, end in zip(middle, self.crop, last, strict=True)
            ]
        else:
            start = [self.R.randint(max(end, 0) + 1) for end in last]
        self._start = tuple(end // 2 if end < 0 else at for at, end in zip(start, last, strict=True))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        self.randomize(data)
        return {key: self._cut(data[key]) for key in self.keys}

    def _cut(self, volume: Tensor) -> Tensor:
        """A copy of the window and its margin, float32 `[C, *spatial]`."""
        where, missing = [], []
        for start, side, margin, size in zip(self._start, self.crop, self.margin, volume.shape[1:], strict=True):
            first, end = start - margin, start + side + margin
            where.append(slice(max(first, 0), min(end, size)))
            missing.append((max(-first, 0), max(end - size, 0)))
        part = torch.as_tensor(volume).as_subclass(Tensor)[(slice(None), *where)].float()
        pads = [n for pair in reversed(missing) for n in pair]
        return torch.nn.functional.pad(part, pads, mode="replicate") if any(pads) else part.clone()


def margins(transforms: Sequence[Callable], crop: Sequence[int]) -> tuple[int, ...]:
    """How many voxels around a window its affine augmentation may read, for each axis; 0 where there is none."""
    found = np.zeros(len(crop))
    for transform in transforms:
        if isinstance(transform, RandAffined):
            found = np.maximum(found, _reach(transform, np.asarray(crop)) - np.asarray(crop) / 2)
    return tuple(math.ceil(max(value, 0)) for value in found)


def _reach(transform: RandAffined, crop: np.ndarray) -> np.ndarray:
    """Voxels from the middle that the outermost corner may come from, whatever is drawn."""
    drawn = transform.rand_affine.rand_affine_grid
    turns, shears, scales, shifts = (
        [_largest(value) for value in values][:count] + [0.0] * max(count - len(values), 0)
        for values, count in (
            (drawn.rotate_range or (), 3),
            (drawn.shear_range or (), 6),
            (drawn.scale_range or (), 3),
            (drawn.translate_range or (), 3),
        )
    )
    turned = np.max([abs(_rotation(angles)) for angles in product(*((-a, 0, a) for a in turns))], 0)
    sheared = np.eye(3)
    sheared[~np.eye(3, dtype=bool)] += shears
    return turned @ sheared @ ((1 + np.asarray(scales)) * crop / 2 + shifts)


def _largest(span: float | Sequence[float]) -> float:
    """Of MONAI's ranges, a pair of ends or one number for both."""
    return max(abs(float(end)) for end in np.atleast_1d(span))


def _rotation(angles: Sequence[float]) -> np.ndarray:
    return np.asarray(create_rotate(3, angles))[:3, :3]
