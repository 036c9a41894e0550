"""Size, place and form of each structure (METHODS 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.frames import refuse_clip
from uncertaintyseg.wire import Label, Shape, Structure

Point = tuple[float, float, float]
Row = TypeVar("Row", bound=Structure)


@dataclass(frozen=True)
class ShapeRow:
    """One structure; what an absent one, or one of this dimension, does not have is None.

    Attributes:
        name: of the structure.
        id: its class id.
        volume_ml: volume.
        components: pieces that touch by no face.
        area_mm2: of a structure in a volume of one slice.
        surface_mm2: of its surface (Crofton's formula, as ITK estimates it), in a volume.
        eccentricity: sqrt(1 - least / largest principal moment): 0 for a ball, near 1 for a line or a sheet. In one
            slice that of the ellipse with the same moments.
        elongation: root of the largest over the second-largest principal moment: ratio of the two longest axes.
        centroid_mm: mean of its voxels, RAS.
        box_ijk: first and last voxel of the box around it.
        box_mm: lowest and highest RAS coordinates of that box, voxels' extent included.
        flag: "absent" for a structure without voxels.
    """

    name: str
    id: int
    volume_ml: float = 0.0
    components: int = 0
    area_mm2: float | None = None
    surface_mm2: float | None = None
    eccentricity: float | None = None
    elongation: float | None = None
    centroid_mm: Point | None = None
    box_ijk: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None
    box_mm: tuple[Point, Point] | None = None
    flag: str | None = "absent"


def shape_features(
    label: np.ndarray, affine: np.ndarray, structures: Sequence[Label | Structure], *, clip: bool = False
) -> list[ShapeRow]:
    """A row for every structure of a model, also those that were not found.

    Moments and surface take the axes of the grid for orthogonal, as ITK does.

    Args:
        label: class ids `[X, Y, Z]`; one slice (an axis of length 1) is measured in two dimensions.
        affine: 4x4, voxel to RAS+ mm.
        structures: their names and ids.
        clip: the third axis is time, so that there is no shape in space.

    Raises:
        InputError: for a label that is no volume, or a clip.
    """
    refuse_clip(clip, "shape to measure")
    if label.ndim != 3:
        raise InputError(f"shape features need a volume; this label has {label.ndim} axes. A slice is [X, Y, 1].")
    affine = np.asarray(affine, dtype=np.float64)
    thin = max((axis for axis in range(3) if label.shape[axis] == 1), default=None)
    boxes = ndimage.find_objects(label, max((item.id for item in structures), default=0))
    rows = []
    for item in structures:
        box = boxes[item.id - 1]
        rows.append(ShapeRow(item.name, item.id) if box is None else _row(item, label, box, affine, thin))
    return rows


def with_shapes(rows: Sequence[Row], label: np.ndarray, affine: np.ndarray) -> list[Row]:
    """Rows of a structure table with the shapes that their structures have in a label; arguments as there."""
    shapes = []
    for row in shape_features(label, affine, rows):
        about = {name: value for name, value in asdict(row).items() if name in Shape.model_fields}
        shapes.append(None if row.flag else Shape(**about))
    return [row.model_copy(update={"shape": shape}) for row, shape in zip(rows, shapes, strict=True)]


def _row(
    item: Label | Structure, label: np.ndarray, box: tuple[slice, ...], affine: np.ndarray, thin: int | None
) -> ShapeRow:
    """A row from the box around a structure, with a voxel of what lies around it."""
    corner = [max(part.start - 1, 0) for part in box]
    inside = label[tuple(slice(low, part.stop + 1) for low, part in zip(corner, box, strict=True))] == item.id
    spacing, image = np.linalg.norm(affine[:3, :3], axis=0).tolist(), inside.astype(np.uint8)
    if thin is not None:
        image = image.squeeze(thin)
        del spacing[thin]
    whole = sitk.GetImageFromArray(image.T)
    whole.SetSpacing(spacing)  # its place and direction would change nothing of what is asked of ITK
    measured = sitk.LabelShapeStatisticsImageFilter()
    measured.ComputePerimeterOn()
    measured.Execute(whole)
    first = np.array([part.start for part in box])
    last = np.array([part.stop - 1 for part in box])
    corners = np.stack(np.meshgrid(*zip(first - 0.5, last + 0.5, strict=True), indexing="ij"), -1).reshape(-1, 3)
    corners_mm = _place(affine, corners)
    moments = measured.GetPrincipalMoments(1)  # the least first
    voxels = np.count_nonzero(inside)
    planes = (inside.sum(tuple(a for a in range(3) if a != axis)) for axis in range(3))
    middle = [low + (count @ np.arange(len(count))) / voxels for low, count in zip(corner, planes, strict=True)]
    return ShapeRow(
        name=item.name,
        id=item.id,
        volume_ml=voxels * abs(float(np.linalg.det(affine[:3, :3]))) / 1000,
        components=int(ndimage.label(inside)[1]),
        area_mm2=None if thin is None else measured.GetPhysicalSize(1),
        surface_mm2=measured.GetPerimeter(1) if thin is None else None,
        eccentricity=float(np.sqrt(1 - moments[0] / moments[-1])) if moments[-1] > 0 else None,
        elongation=float(np.sqrt(moments[-1] / moments[-2])) if moments[-2] > 1e-9 * moments[-1] else None,
        centroid_mm=_point(_place(affine, np.array(middle))),
        box_ijk=(tuple(int(i) for i in first), tuple(int(i) for i in last)),
        box_mm=(_point(corners_mm.min(0)), _point(corners_mm.max(0))),
        flag=None,
    )


def _place(affine: np.ndarray, ijk: np.ndarray) -> np.ndarray:
    return ijk @ affine[:3, :3].T + affine[:3, 3]


def _point(values: np.ndarray) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
