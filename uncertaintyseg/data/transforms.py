"""MONAI dictionary transforms that read through our validated reader."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, NormalizeIntensity, ScaleIntensityRange
from skimage.exposure import equalize_adapthist
from torch import Tensor

from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.time_axis import check_dimensions


class ReadCased(MapTransform):
    """Read the scan under "image" (a path, or a scan already read) and, where present, its label under "label".

    Outside of the binary volume under "verified", where present, the label is `IGNORED`; "own_ids" is that of a `Case`.

    Args:
        labels: Name to class id of the structures; names find the files where a label is a folder of binary volumes.
        channels: How many channels a scan has, one file each.

    Attributes:
        reading: How labels are read, `ignore` and `values` of `read_case_label`: a model says so in its metadata.
        dimensions: 3 for models of volumes, 2 for those of images and clips: it says so there too.

    Raises:
        InputError: For a file that cannot be used; the message names it.
    """

    def __init__(self, labels: Mapping[str, int], channels: int = 1) -> None:
        super().__init__(("image", "label"), allow_missing_keys=True)
        self.labels, self.channels = dict(labels), channels
        self.reading: dict[str, Any] = {}
        self.dimensions = 3

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        if not isinstance(data["image"], MetaTensor):
            data["image"] = read_channels(data["image"], self.channels)
        check_dimensions(data["image"], self.dimensions)
        if "label" in data:
            data["label"] = read_case_label(labelled_case(data), self.labels, like=data["image"], **self.reading)
        return data


class EqualiseLocallyd(MapTransform):
    """Equalise the contrast of the "image" locally: CLAHE, each slice of the third axis by itself, to 0..1.

    Contrast limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994) of scikit-image: 256 grey
    values between the slice's lowest and highest, tiles of an eighth of its sides. A constant slice becomes 0.

    Args:
        clip_limit: share of a tile's pixels that one grey value may have before it is cut, from 0 to 1.
    """

    def __init__(self, clip_limit: float = 0.01) -> None:
        super().__init__(("image",))
        self.clip_limit = clip_limit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        image = data["image"]
        values = np.asarray(image, dtype=np.float32)
        found = np.zeros_like(values)
        for place in np.ndindex(values.shape[0], values.shape[-1]):
            where = (place[0], ..., place[1])
            low, high = values[where].min(), values[where].max()
            if low < high:
                found[where] = equalize_adapthist((values[where] - low) / (high - low), clip_limit=self.clip_limit)
        equal = torch.from_numpy(found)
        data["image"] = MetaTensor(equal, meta=image.meta) if hasattr(image, "meta") else equal
        return data


class NormaliseChannelsd(MapTransform):
    """Give each channel of the "image" its own scale, as a plan says it (`planning.intensities.Normalization`).

    Args:
        channels: For each channel "scheme": "ct" (clip to "low".."high", then subtract "mean" and divide by "std"),
            "zscore", or "nonzero" (the z-score of what is not 0).
        by_slice: Each slice of the third axis sets its own scale: of a clip no frame hangs on the others.
    """

    def __init__(self, channels: Sequence[Mapping[str, Any]], by_slice: bool = False) -> None:
        super().__init__(("image",))
        self.channels = [_normalisation(**channel) for channel in channels]
        self.by_slice = by_slice

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        image = data["image"]
        parts = [torch.as_tensor(image).as_subclass(Tensor)[number][None] for number in range(len(self.channels))]
        found = torch.cat([self._scaled(part, scale) for part, scale in zip(parts, self.channels, strict=True)])
        data["image"] = MetaTensor(found, meta=image.meta) if hasattr(image, "meta") else found  # with its affine
        return data

    def _scaled(self, part: Tensor, scale: ScaleIntensityRange | NormalizeIntensity) -> Tensor:
        slices = [one.contiguous() for one in part.unbind(-1)] if self.by_slice else [part]
        scaled = [torch.as_tensor(scale(one)).as_subclass(Tensor) for one in slices]
        return torch.stack(scaled, -1) if self.by_slice else scaled[0]


def _normalisation(
    scheme: str, low: float = 0, high: float = 0, mean: float = 0, std: float = 1
) -> ScaleIntensityRange | NormalizeIntensity:
    if scheme == "ct":
        return ScaleIntensityRange(low, high, (low - mean) / std, (high - mean) / std, clip=True)
    return NormalizeIntensity(nonzero=scheme == "nonzero")


def labelled_case(data: dict[Hashable, Any]) -> Case:
    """The case of a scan that was read under "image" and of the path under "label"; takes out what else it says."""
    verified, own_ids = data.pop("verified", None), data.pop("own_ids", False)
    image = Path(data["image"].meta["filename_or_obj"])
    return Case("", image, Path(data["label"]), verified=verified and Path(verified), own_ids=own_ids)
