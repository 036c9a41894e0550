"""MONAI dictionary transforms that read through our validated reader."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import MapTransform

from uncertaintyseg.data.scan import read_label, read_scan


class ReadCased(MapTransform):
    """Read the scan under "image" (a path, or a scan already read) and, where present, its label under "label".

    Args:
        label_ids: class ids that may occur in a label; None accepts any.

    Raises:
        InputError: for a file that cannot be used; the message names it.
    """

    def __init__(self, label_ids: Collection[int] | None = None) -> None:
        super().__init__(("image", "label"), allow_missing_keys=True)
        self.label_ids = label_ids

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        if not isinstance(data["image"], MetaTensor):
            data["image"] = read_scan(data["image"])
        if "label" in data:
            data["label"] = read_label(data["label"], self.label_ids, like=data["image"])
        return data
