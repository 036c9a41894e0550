"""The preprocessing of a foreign MONAI bundle, between our reader and our engine."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Spacingd, Transform
from numpy.typing import ArrayLike

from uncertaintyseg.data.geometry import resample
from uncertaintyseg.data.transforms import ReadCased
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports.monai.program import Program, trusted_program
from uncertaintyseg.inference.bundle import Bundle

_OURS = (LoadImaged, EnsureChannelFirstd)
"""What our own reader does."""


class ForeignPreprocessing(Transform):
    """The transforms of a trusted program on the scan under "image"; the label, where present, follows to their grid.

    Scans are read by our own reader, which refuses what cannot be used. A label takes the nearest voxel.

    Args:
        folder: of the model.

    Raises:
        BundleError: for a program that was not trusted or has changed.
        InputError: on a scan that cannot be used, or from which the transforms make no image on a grid parallel to it.
    """

    def __init__(self, folder: str) -> None:
        program = trusted_program(folder)
        self.path, self.transforms = program.path, Compose(own_transforms(program))
        bundle = Bundle.load(folder)
        self.read = ReadCased({label.name: label.id for label in bundle.labels})
        self.read.reading = bundle.label_reading

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scan and label on the grid of the model."""
        read = self.read(data)
        scan = read["image"]
        try:
            image = self.transforms({"image": scan})["image"]
        except Exception as error:  # a program raises what it likes
            raise InputError(
                f"{scan.meta['filename_or_obj']}: the preprocessing of {self.path} fails on it ({error})."
            ) from error
        if not isinstance(image, MetaTensor) or image.ndim != 4 or not parallel(scan.affine, image.affine):
            raise InputError(
                f"{self.path}: its preprocessing makes of a scan no image on a grid parallel to the scan's, so nothing "
                "could be brought back to it."
            )
        image.meta["filename_or_obj"] = scan.meta["filename_or_obj"]
        read["image"] = image
        if "label" in read:
            label = read["label"]
            moved = resample(label, label.affine, image.affine, image.shape[1:], nearest=True)
            read["label"] = MetaTensor(moved, affine=image.affine)
        return read


def own_transforms(program: Program) -> list[Any]:
    """The transforms of a program's preprocessing that come after reading. This runs the program.

    Raises:
        BundleError: for a preprocessing of another kind, or of another key than "image".
    """
    found = program.built("preprocessing")
    if not isinstance(found, Compose):
        raise BundleError(f"{program.path}: 'preprocessing' makes a {type(found).__name__}, and a Compose is needed.")
    kept = [transform for transform in found.flatten().transforms if not isinstance(transform, _OURS)]
    keys = {key for transform in kept for key in getattr(transform, "keys", ())}
    if keys - {"image"}:
        raise BundleError(f"{program.path}: its preprocessing works on {sorted(map(str, keys))}, not on 'image' alone.")
    return kept


def spacing_of(transforms: list[Any]) -> list[float] | None:
    """Voxel sizes of the grid that transforms end on, mm; None where they take the scan's."""
    found = [transform for transform in transforms if isinstance(transform, Spacingd)]
    if not found:
        return None
    sizes = np.broadcast_to(np.asarray(found[-1].spacing_transform.pixdim, dtype=float), 3)
    return [float(size) for size in sizes]


def parallel(one: ArrayLike, other: ArrayLike) -> bool:
    """Whether the axes of two grids run along each other, in any order and direction."""
    turn = np.abs(np.linalg.inv(np.asarray(one, dtype=float)[:3, :3]) @ np.asarray(other, dtype=float)[:3, :3])
    largest = turn.max(0)
    return len(set(turn.argmax(0))) == 3 and bool((turn.sum(0) - largest <= 1e-4 * largest).all())
