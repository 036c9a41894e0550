"""What a scan's axes are: images are scans of one slice, clips are scans whose third axis is time, not space.

Nothing of a clip is linked from frame to frame: no region, no margin, no volume. `is_clip` is the only place that says
which scans are clips. numpy alone: the process that decodes pictures imports it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from uncertaintyseg.data.grids import spacing_of
from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from monai.data import MetaTensor

DESCRIPTION = "dataset.json"
"""File that says what a data set is."""
_SPACE = "space"
AXIS, TIME = "axis", "time"
"""In `meta`, of clips; where it is absent the third axis is space."""
SPACING_KNOWN = "spacing_known"
"""In `meta`, False of pictures: their affine counts pixels, not mm. Absent where mm are known."""


def said_beside(path: Path) -> list[Path]:
    """The `DESCRIPTION` beside a file or one folder above, in a list; none where there is none."""
    beside = (folder / DESCRIPTION for folder in path.absolute().parents[:2])
    return [file for file in beside if file.is_file()][:1]


def axis_said_beside(path: Path) -> dict[str, str]:
    """What `meta` says of a volume's axes by the `DESCRIPTION` beside it or one folder above: a clip's, or nothing.

    A file of a volume cannot tell time from space: `"axis": "time"` there says that the third axis of the NIfTI, NRRD
    and MetaImage files is time.

    Raises:
        InputError: It names another axis.
    """
    described = next(iter(said_beside(path)), None)
    if described is None:
        return {}
    try:
        said = json.loads(described.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):  # whoever needs names tells
        return {}
    axis = said.get(AXIS) if isinstance(said, dict) else None
    if axis not in (None, TIME, _SPACE):
        raise InputError(
            f'{described}: "{AXIS}" is "{TIME}" where the third axis is time, else "{_SPACE}"; it is {axis!r}.'
        )
    return {AXIS: TIME} if axis == TIME else {}


def is_clip(scan: MetaTensor | Mapping[str, Any]) -> bool:
    """Whether the third axis of a scan, or of the scan with this `meta`, is time."""
    return _meta(scan).get(AXIS) == TIME


def spacing_known(scan: MetaTensor | Mapping[str, Any]) -> bool:
    """Whether the affine of a scan, or of the scan with this `meta`, is in mm; else it counts pixels."""
    return bool(_meta(scan).get(SPACING_KNOWN, True))


@dataclass(frozen=True)
class Measure:
    """What sizes are counted in: volumes of volumes, areas of images, areas a frame of clips.

    Attributes:
        unit: "mL"; "mm2" of images and clips; "px", pixels, where their spacing is unknown.
        voxel: what a voxel adds to a size; of a clip to the mean area of its frames.
        place: how large a voxel is where it lies, so of a clip in its frame.
        clip: whether the third axis is time.
    """

    unit: Literal["mL", "mm2", "px"]
    voxel: float
    place: float
    clip: bool = False

    @property
    def about(self) -> dict[str, object]:
        """What `meta` says of a scan that is measured so."""
        return {**({AXIS: TIME} if self.clip else {}), **({SPACING_KNOWN: False} if self.unit == "px" else {})}

    @classmethod
    def of_volume(cls, affine: ArrayLike) -> Measure:
        """That of a volume on a grid."""
        size = float(abs(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3]))) / 1000
        return cls("mL", size, size)

    @classmethod
    def of(cls, scan: MetaTensor, affine: ArrayLike | None = None) -> Measure:
        """That of a scan `[channels, X, Y, Z]`, or of another grid, 4x4, that holds the same slices."""
        grid = scan.affine.numpy() if affine is None else affine
        return cls.on(grid, scan.shape[-1], clip=is_clip(scan), known=spacing_known(scan))

    @classmethod
    def on(cls, affine: ArrayLike, slices: int, *, clip: bool, known: bool) -> Measure:
        """That of a grid, 4x4, with so many slices or frames, whose spacing is known or not."""
        if slices > 1 and not clip:
            return cls.of_volume(affine)
        area = float(np.prod(spacing_of(affine)[:2]))
        return cls("mm2" if known else "px", area / slices, area, clip)


def check_dimensions(scan: MetaTensor, dimensions: int) -> None:
    """Whether a model of so many dimensions takes a scan.

    Args:
        scan: `[channels, X, Y, Z]`.
        dimensions: 3 for volumes; 2 for images and the frames of clips.

    Raises:
        InputError: An image or a clip for a 3D model, or a volume for a 2D one.
    """
    name, shape = scan.meta.get("filename_or_obj", "the scan"), tuple(scan.shape[1:])
    size = " x ".join(map(str, shape))
    if dimensions == 3 and is_clip(scan):
        raise InputError(
            f"{name}: a clip of {shape[-1]} frames, whose third axis is time; this model is 3D and looks across it. "
            "Take a 2D model."
        )
    if dimensions == 3 and min(shape) == 1:
        raise InputError(
            f"{name}: one slice thick (shape {size}), and this model is 3D. Give the whole volume, for DICOM the "
            "folder of the series; or take a 2D model."
        )
    if dimensions == 2 and shape[-1] != 1 and not is_clip(scan):
        raise InputError(
            f"{name}: a volume ({size} voxels), and this model is 2D: it takes images and clips. Take a 3D model, or "
            "save the slices that you mean as images."
        )


def _meta(scan: MetaTensor | Mapping[str, Any]) -> Mapping[str, Any]:
    return scan if isinstance(scan, Mapping) else scan.meta
