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

from uncertaintyseg.data.case_labels import IGNORED

VOXELS = "voxels"
"""Key of a case under which `StructureVoxels` keeps where its structures are."""
SLOT = "slot"
"""Key of a case under which the place of its patch in the batch is told, from 0 on."""
KNOWN = -1
"""Among the classes of `VOXELS`: voxels that somebody has labelled, of a case with others."""
MOST_VOXELS = 10_000
"""Kept of a structure in a case, at random: patches centred on them see all of it."""


class StructureVoxels(MapTransform):
    """Add under "voxels" where a label's structures are: class to indices `[n, 3]`, at most `MOST_VOXELS` each.

    Of a label that says nothing of some voxels, `KNOWN` has those of which it does, background and all. The same label
    gives the same voxels.
    """

    def __init__(self) -> None:
        super().__init__("label")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        label = np.asarray(data["label"])[0]
        inside = np.flatnonzero(label > 0)
        classes, rng, found = label.reshape(-1)[inside].astype(np.int64), np.random.RandomState(0), {}
        wanted = {int(class_id): inside[classes == class_id] for class_id in np.unique(classes)}
        known = label != IGNORED
        if known.any() and not known.all():
            wanted[KNOWN] = np.flatnonzero(known)
        for class_id, every in wanted.items():
            few = len(every) <= MOST_VOXELS
            own = every if few else np.sort(every[rng.randint(len(every), size=MOST_VOXELS)])
            found[class_id] = torch.from_numpy(np.stack(np.unravel_index(own, label.shape), 1).astype(np.int32))
        return {**data, VOXELS: found}


class PatchDrawn(Randomizable, MapTransform):
    """Draw the window of a training step out of a case, with a margin that the affine augmentation turns it in.

    The last patches of a batch lie on a structure, as in nnU-Net (`on_structures`): its class is drawn first, evenly
    over those of the case, then the voxel in its middle. The others lie anywhere; of a case that is labelled in part,
    about a voxel that is. A patch stays within the scan where that is large enough; what it lacks, and what the margin
    lacks, are the scan's border voxels again, as at inference.

    Its place in the batch is what the case says under "slot", else how many were drawn since the random state was set.

    Args:
        crop: size of the window.
        margin: voxels on either side of it, for each axis.
        foreground: share of the patches on a structure.
        batch_size: patches of a batch.
    """

    def __init__(self, crop: Sequence[int], margin: Sequence[int], foreground: float, batch_size: int = 1) -> None:
        MapTransform.__init__(self, ("image", "label"))
        self.crop, self.margin, self.foreground = tuple(crop), tuple(margin), foreground
        self.batch_size, self._start, self._drawn = batch_size, (0, 0, 0), 0

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> PatchDrawn:
        """Begin anew, with a batch too."""
        super().set_random_state(seed, state)
        self._drawn = 0
        return self

    def randomize(self, data: Mapping[Hashable, Any]) -> None:
        """Choose where the window begins; negative where the scan is smaller."""
        shape, voxels = data["label"].shape[1:], data.get(VOXELS) or {}
        classes, own = sorted(voxels.keys() - {KNOWN}), voxels.get(KNOWN)
        last = [size - side for size, side in zip(shape, self.crop, strict=True)]
        if classes and self._on_structure(data.get(SLOT, self._drawn)):
            own = voxels[classes[self.R.randint(len(classes))]]
        if own is not None:
            middle = own[self.R.randint(len(own))].tolist()
            start = [
                min(max(at - side // 2, 0), max(end, 0)) for at, side, end in zip(middle, self.crop, last, strict=True)
            ]
        else:
            start = [self.R.randint(max(end, 0) + 1) for end in last]
        self._start = tuple(end // 2 if end < 0 else at for at, end in zip(start, last, strict=True))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        self.randomize(data)
        self._drawn += 1
        return {key: self._cut(data[key]) for key in self.keys}

    def _on_structure(self, slot: int) -> bool:
        """Whether the patch in a place of its batch lies on a structure; by chance where no batch has a whole one."""
        by_chance = self.R.rand() < self.foreground
        count = on_structures(self.foreground, self.batch_size)
        return slot % self.batch_size >= self.batch_size - count if count else by_chance

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


def on_structures(foreground: float, batch_size: int) -> int:
    """How many patches of a batch, its last ones, lie on a structure for sure (nnU-Net): 1 of 2 for a third."""
    return batch_size - round(batch_size * (1 - foreground))


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
