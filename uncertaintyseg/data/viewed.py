"""Volumes, images and clips as the pictures that people look at, for networks that were trained on pictures."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.slices import PLANES, is_flat, thickest
from uncertaintyseg.errors import InputError

_AXES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""Where columns, rows and slices run: the patient's right is on the left, the nose in front or on the left."""
_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
_SAME = 1.05
"""Pixels whose sides have a ratio up to this count as square."""


class AsViewedd(MapTransform):
    """Turn the "image" (and "label") so that its columns, rows and slices are the first, second and third axis.

    Pixels that are not square are made so, by the shorter of their sides: a network that looks at pictures knows no mm.
    Images and clips have their slices already.

    Args:
        plane: "axial", "coronal" or "sagittal"; None: that of the thickest slices, axial where voxels are cubes.

    Attributes:
        plane: see `along`.

    Raises:
        InputError: for another plane.
    """

    def __init__(self, plane: str | None = None) -> None:
        super().__init__(("image", "label"), allow_missing_keys=True)
        self.plane = checked_plane(plane)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = self._viewed(data[key], label=key == "label")
        return data

    @contextmanager
    def along(self, plane: str | None) -> Iterator[None]:
        """Another plane for a while; None: as it was made."""
        before, self.plane = self.plane, checked_plane(plane) or self.plane
        try:
            yield
        finally:
            self.plane = before

    def shape(self, scan: MetaTensor) -> tuple[int, int, int]:
        """How many columns, rows and slices a scan will have."""
        turned = self._turned(scan)
        columns, rows = _squared(turned).tolist()
        return columns, rows, turned.shape[3]

    def _turned(self, scan: MetaTensor) -> MetaTensor:
        return scan if is_flat(scan) else Orientation(_AXES[self.plane or thickest(scan)], labels=_LABELS)(scan)

    def _viewed(self, scan: MetaTensor, *, label: bool) -> MetaTensor:
        turned = self._turned(scan)
        values, affine = turned.as_tensor(), np.asarray(turned.affine, dtype=np.float64).copy()
        sides, wanted = np.array(values.shape[1:3]), _squared(turned)
        if (wanted != sides).any():
            how: dict[str, Any] = {"mode": "nearest-exact"} if label else {"mode": "bilinear", "align_corners": False}
            each = F.interpolate(values.movedim(-1, 0).float(), size=wanted.tolist(), **how)
            values, steps = each.movedim(0, -1).to(values.dtype), sides / wanted
            affine[:, 3] += affine[:, :2] @ ((steps - 1) / 2)
            affine[:, :2] *= steps
        left_out = ("affine", "original_affine", "spatial_shape")
        kept = {key: value for key, value in scan.meta.items() if key not in left_out}
        return MetaTensor(values.contiguous(), affine=torch.from_numpy(affine), meta=kept)


def _squared(turned: MetaTensor) -> np.ndarray:
    """Sides of slices whose pixels are square, by the shorter of their sides."""
    sides, sizes = np.array(turned.shape[1:3]), np.array(spacing_mm(turned.affine)[:2])
    if sizes.max() <= _SAME * sizes.min():
        return sides
    return np.maximum(1, np.round(sides * sizes / sizes.min())).astype(int)


def checked_plane(plane: str | None) -> str | None:
    """The plane, if there is one of that name. Raises `InputError` if not."""
    if plane is not None and plane not in PLANES:
        raise InputError(f"the plane '{plane}' is unknown; choose {', '.join(PLANES)}.")
    return plane
