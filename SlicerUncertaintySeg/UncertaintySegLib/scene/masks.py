"""Segments as arrays on the grid of the scan, and arrays as segments, without a label volume in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from UncertaintySegLib.scene import flat, segments
from UncertaintySegLib.server.sizes import ML, MM2

Box = tuple[slice, slice, slice]
_APART_MM = 1e9


def structure_mask(
    segmentation: slicer.vtkMRMLSegmentationNode, label_id: int, reference: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """Return where a structure is, bool `[K, J, I]` on the grid of `reference`."""
    return segments.label_ids(segmentation, reference) == label_id


def union(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    reference: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkSegment:
    """Return a segment with the voxels of several that have a label id, on the grid of `reference`."""
    label_ids = [label_id for segment_id, label_id in segments.named(segmentation).items() if segment_id in segment_ids]
    mask = np.isin(segments.label_ids(segmentation, reference), label_ids)
    return new_segment("all", (1.0, 1.0, 1.0), mask, reference)


def segment_of(segmentation: slicer.vtkMRMLSegmentationNode, label_id: int) -> str | None:
    """Return the id of the segment that has a label id, or None where the user took it away."""
    contents, found = segmentation.GetSegmentation(), vtk.mutable("")
    for segment_id in contents.GetSegmentIDs():
        if contents.GetSegment(segment_id).GetTag(segments.LABEL_ID, found) and str(found) == str(label_id):
            return segment_id
    return None


def box_around(mask: np.ndarray, margin: tuple[int, int, int] = (0, 0, 0)) -> Box | None:
    """Return the smallest box, and `margin` voxels more, that holds all true voxels; None where none is true."""
    found: list[slice] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not places.size:
            return None
        low, high = int(places[0]) - margin[axis], int(places[-1]) + 1 + margin[axis]
        found.append(slice(max(0, low), min(mask.shape[axis], high)))
    return tuple(found)


def new_segment(
    name: str, color: tuple[float, float, float], mask: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkSegment:
    """Return a segment with the voxels of a mask, bool `[K, J, I]` on the grid of `reference`."""
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*color)
    image, ijk_to_ras = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    box = box_around(mask) or (slice(0, 1),) * 3
    values = np.ascontiguousarray(mask[box]).astype(np.uint8)
    image.SetExtent(*(edge for part in reversed(box) for edge in (part.start, part.stop - 1)))
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    reference.GetIJKToRASMatrix(ijk_to_ras)
    image.SetImageToWorldMatrix(ijk_to_ras)
    name_of_masks = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segment.AddRepresentation(name_of_masks, image)
    return segment


def spacing(volume: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float, float]:
    """Return the mm from voxel to voxel along K, J and I; the frames of a clip are too far apart for any reach."""
    k, j, i = reversed(volume.GetSpacing())
    return (_APART_MM if flat.is_clip(volume) else k), j, i


def voxel_size(volume: slicer.vtkMRMLScalarVolumeNode, unit: str) -> float:
    """Return what a voxel adds to a size in a unit of the wire: mL, or the mean area of a frame in mm² or pixels."""
    if unit == ML:
        return float(np.prod(volume.GetSpacing())) / 1000
    area = float(np.prod(volume.GetSpacing()[:2])) if unit == MM2 else 1.0
    return area / volume.GetImageData().GetDimensions()[2]


def sizes(ids: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode, unit: str) -> dict[int, float]:
    """Return the size of each id but 0 that occurs in a label, `[K, J, I]` on the grid of `reference`."""
    highest = int(ids.max(initial=0)) + 1
    counts = sum(np.bincount(plane.ravel(), minlength=highest) for plane in ids)  # at once it takes 8 bytes a voxel
    return {int(label): int(counts[label]) * voxel_size(reference, unit) for label in np.flatnonzero(counts) if label}


def highest_place(
    mask: np.ndarray,
    reference: slicer.vtkMRMLScalarVolumeNode,
    risk: slicer.vtkMRMLScalarVolumeNode | None,
) -> tuple[float, float, float]:
    """Return where in mm (RAS) a map is highest in a mask that is not empty; without a map, the middle of the mask.

    Args:
        mask: bool `[K, J, I]` on the grid of `reference`.
        reference: The scan.
        risk: A map on the same grid, or None.
    """
    box = box_around(mask)
    inside = mask[box]
    if risk is not None:
        values = np.where(inside, slicer.util.arrayFromVolume(risk)[box], -np.inf)
        place = np.unravel_index(int(values.argmax()), values.shape)
    else:
        places = np.argwhere(inside)
        place = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
    k, j, i = (int(at) + part.start for at, part in zip(place, box))
    ijk_to_ras = vtk.vtkMatrix4x4()
    reference.GetIJKToRASMatrix(ijk_to_ras)
    return tuple(ijk_to_ras.MultiplyPoint((float(i), float(j), float(k), 1.0))[:3])
