"""Windows of cases of which only a part is labelled: they go to where something is known."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED


class AboutKnown(Randomizable, MapTransform):
    """Cut image and label so that a window in the middle of them holds a random voxel that is labelled.

    Augmentations take the window from the middle of what they get, so that of a large scan with one corrected region
    they would never see it. The cut is the largest one about the new middle; a case that is labelled everywhere, and
    an axis that the window spans, stay as they are.

    Args:
        crop: the window, in voxels.
    """

    def __init__(self, crop: Sequence[int]) -> None:
        MapTransform.__init__(self, ("image", "label"))
        self.crop = tuple(crop)
        self._voxel: tuple[int, ...] = ()

    def randomize(self, data: Tensor) -> None:
        """Choose a voxel of a mask `[*spatial]`."""
        voxels = data.nonzero()
        self._voxel = tuple(voxels[int(self.R.randint(len(voxels)))].tolist())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        known = torch.as_tensor(data["label"][0]) != IGNORED
        if known.all() or not known.any():
            return data
        self.randomize(known)
        box = [_about(*axis) for axis in zip(self._voxel, known.shape, self.crop, strict=True)]
        for key in self.keys:
            data[key] = data[key][(slice(None), *box)]
        return data


def _about(voxel: int, size: int, window: int) -> slice:
    """The longest part of an axis whose middle is as near to a voxel as a whole window allows."""
    if window >= size:
        return slice(0, size)
    start = min(max(voxel - window // 2, 0), size - window)
    margin = min(start, size - window - start)
    return slice(start - margin, start + window + margin)
