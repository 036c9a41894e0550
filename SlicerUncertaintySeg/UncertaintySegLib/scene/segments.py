"""A label file becomes named, coloured segments; edited segments become a label file with the same ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import nodes
from UncertaintySegLib.scene.colors import structure_color
from UncertaintySegLib.server.replies import Label

LABEL_ID = "UncertaintySeg.LabelId"
HELPER = "UncertaintySeg.Helper"
"""Tag of a segment that the module keeps for itself, such as the one that editing is confined to."""


class Structure(NamedTuple):
    """A segment that stands for a label: its ids, its name, and its colour in [0, 1] (None for background)."""

    segment_id: str
    label_id: int
    name: str
    color: tuple[float, float, float] | None


_SIDES = {"7771000": "Left", "24028007": "Right", "51440002": "Right and left"}


def read_segmentation(
    scene: slicer.vtkMRMLScene,
    path: Path,
    labels: Sequence[Label],
    name: str,
    reference: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLSegmentationNode:
    """Read a label file into a segmentation with one segment for every label, empty ones included.

    Args:
        scene: Where the node goes.
        path: Image file whose voxels are label ids.
        labels: Names, ids and colours.
        name: Name of the node.
        reference: The scan; its grid is the grid of the segmentation.

    Raises:
        SceneError: If the file cannot be read, lies on another grid, or holds an id that is not in `labels`. The scene
            is then as before.
    """
    volume = _read_label(scene, path, {label.id for label in labels})
    try:
        _require_grid(volume, reference, path)
        segmentation = slicer.vtkMRMLSegmentationNode()  # not in the scene yet: nobody is told of each segment
        segmentation.SetName(name)
        _add_segments(segmentation.GetSegmentation(), labels, _oriented_image(volume))
    finally:
        nodes.remove(scene, volume)
    scene.AddNode(segmentation)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    segmentation.CreateDefaultDisplayNodes()
    return segmentation


def redraw(segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Redraw all named segments from a label file at once, so that whoever watches the voxels is told once.

    Args:
        segmentation: Has the segments; those without a label id stay as they are.
        reference: The scan.
        path: Image file on the scan's grid whose voxels are label ids.

    Raises:
        SceneError: If the file cannot be read, lies on another grid, or holds an id without a segment. The segments
            are then as before.
    """
    scene = segmentation.GetScene()
    volume = _read_label(scene, path, set(named(segmentation).values()))
    try:
        _require_grid(volume, reference, path)
        voxels = _oriented_image(volume)
    finally:
        nodes.remove(scene, volume)
    _share(segmentation, voxels)


def draw(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, ids: np.ndarray
) -> None:
    """Redraw all named segments from an array at once, as `redraw` does from a file.

    Args:
        segmentation: Has the segments; those without a label id stay as they are.
        reference: The scan.
        ids: What `label_ids` returns, with other values.
    """
    image = _grid(reference)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(ids).ravel(), deep=True))
    _share(segmentation, image)


def label_ids(segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the label id of each voxel of the scan, 0 outside of all named segments.

    Only segments that came from the model's labels count: any other (a mark drawn over an uncertain place, say) has no
    id and could take voxels from an organ. Where two overlap, the later one wins.

    Returns:
        uint8, or uint16 where an id needs it, `[K, J, I]`, in the voxel order of the scan's node.
    """
    contents, known = segmentation.GetSegmentation(), named(segmentation)
    shape = reference.GetImageData().GetDimensions()[::-1]
    ids = np.zeros(shape, np.uint8 if max(known.values(), default=0) < 256 else np.uint16)
    layers = {segment_id: layer(segmentation, reference, segment_id) for segment_id in known}
    drawn = {segment_id: found for segment_id, found in layers.items() if found[1].size}
    images = {image for image, _values, _box in drawn.values()}
    if len(images) == 1 and None not in images:
        _image, values, box = next(iter(drawn.values()))
        by_value = np.zeros(int(values.max()) + 1, ids.dtype)
        for segment_id in drawn:
            value = contents.GetSegment(segment_id).GetLabelValue()
            by_value[value : value + 1] = known[segment_id]
        ids[box] = by_value[values]
        return ids
    for segment_id, (image, values, box) in drawn.items():
        ids[box][values == (contents.GetSegment(segment_id).GetLabelValue() if image else 1)] = known[segment_id]
    return ids


def file_ids(reference: slicer.vtkMRMLScalarVolumeNode, path: Path) -> np.ndarray:
    """Return the voxels of a label file as `label_ids` returns those of the segments.

    Raises:
        SceneError: If the file cannot be read, or lies on another grid than the scan.
    """
    scene = reference.GetScene()
    volume = nodes.read_volume(scene, path, path.name, labels=True)
    try:
        _require_grid(volume, reference, path)
        ids = slicer.util.arrayFromVolume(volume).copy()
        grids = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        for node, ijk_to_ras in zip((volume, reference), grids):
            node.GetIJKToRASMatrix(ijk_to_ras)
    finally:
        nodes.remove(scene, volume)
    same = np.allclose(*(slicer.util.arrayFromVTKMatrix(ijk_to_ras) for ijk_to_ras in grids), atol=1e-3)
    return ids if same else ids[::-1]


def write_label(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, path: Path
) -> list[str]:
    """Write the named segments as a label file on the grid of the scan's file, see `label_ids`.

    Returns:
        Names of the segments left out.

    Raises:
        SceneError: If the segmentation has no named segment, or the file cannot be written.
    """
    if not named(segmentation):
        raise SceneError(f"'{segmentation.GetName()}' has no segment that comes from a model: nothing to submit.")
    write_ids(label_ids(segmentation, reference), reference, path)
    return unnamed(segmentation)


def unnamed(segmentation: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the names of the segments that a label leaves out; those that the module keeps for itself have none."""
    contents, ids = segmentation.GetSegmentation(), _segments(segmentation)
    others = [contents.GetSegment(segment_id) for segment_id, label_id in ids.items() if not label_id]
    return [segment.GetName() for segment in others if not tag(segment, HELPER)]


def write_ids(ids: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write label ids on the grid of the scan's file.

    Args:
        ids: `[K, J, I]`, in the voxel order of the scan's node.
        reference: The scan.
        path: Of an image file; it appears only when it is whole.

    Raises:
        SceneError: If the file cannot be written.
    """
    volume = slicer.vtkMRMLLabelMapVolumeNode()  # not in the scene: nobody is told of it
    ijk_to_ras, image = vtk.vtkMatrix4x4(), _grid(reference)
    image.GetPointData().SetScalars(numpy_to_vtk(ids.ravel(), deep=True))
    reference.GetIJKToRASMatrix(ijk_to_ras)
    voxels = vtk.vtkImageData()
    voxels.ShallowCopy(image)
    voxels.SetOrigin(0.0, 0.0, 0.0)
    voxels.SetSpacing(1.0, 1.0, 1.0)
    volume.SetAndObserveImageData(voxels)
    volume.SetIJKToRASMatrix(ijk_to_ras)
    if reference.GetAttribute(nodes.LEFT_HANDED):
        volume.SetAttribute(nodes.LEFT_HANDED, "1")
    nodes.write_volume(volume, path)


def colors_by_id(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[int, tuple[float, float, float]]:
    """Return the colour of each named segment, in [0, 1], by its label id."""
    contents = segmentation.GetSegmentation()
    return {
        label_id: contents.GetSegment(segment_id).GetColor() for segment_id, label_id in named(segmentation).items()
    }


def _oriented_image(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkOrientedImageData:
    image, ijk_to_ras = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    image.ShallowCopy(volume.GetImageData())
    volume.GetIJKToRASMatrix(ijk_to_ras)
    image.SetImageToWorldMatrix(ijk_to_ras)
    return image


def _read_label(scene: slicer.vtkMRMLScene, path: Path, known: set[int]) -> slicer.vtkMRMLLabelMapVolumeNode:
    volume = nodes.read_volume(scene, path, path.name, labels=True)
    values = slicer.util.arrayFromVolume(volume)
    found = np.flatnonzero(np.bincount(values.ravel())) if values.dtype.kind == "u" else np.unique(values)
    unknown = set(found.tolist()) - {0} - known
    if unknown:
        nodes.remove(scene, volume)
        raise SceneError(f"{path} holds label {min(unknown)}, which the model does not have.")
    return volume


def _require_grid(volume: slicer.vtkMRMLVolumeNode, reference: slicer.vtkMRMLVolumeNode, path: Path) -> None:
    if not nodes.same_grid(volume, reference):
        raise SceneError(f"{path} does not lie on the grid of the scan.")


def _segments(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[str, str | None]:
    """Return `{segment id: label id as text, or None}` in the order of the segmentation."""
    contents = segmentation.GetSegmentation()
    return {segment_id: tag(contents.GetSegment(segment_id), LABEL_ID) for segment_id in contents.GetSegmentIDs()}


def named(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Return `{segment id: label id}` of the segments that have one, in the order of the segmentation."""
    return {segment_id: int(label_id) for segment_id, label_id in _segments(segmentation).items() if label_id}


def structures(segmentation: slicer.vtkMRMLSegmentationNode) -> list[Structure]:
    """Return the segments that stand for a label, in the order of the segmentation."""
    contents = segmentation.GetSegmentation()
    found = [(contents.GetSegment(name), name, number) for name, number in named(segmentation).items()]
    return [Structure(name, number, segment.GetName(), segment.GetColor()) for segment, name, number in found]


def tag(segment: slicer.vtkSegment, name: str) -> str | None:
    """Return a tag of a segment; None where it has none of that name."""
    value = vtk.mutable("")  # VTK hands strings back through such a box
    return str(value) if segment.GetTag(name, value) else None


def _share(segmentation: slicer.vtkMRMLSegmentationNode, voxels: slicer.vtkOrientedImageData) -> None:
    """Make all named segments show their id in one image."""
    contents = segmentation.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    has_surface = contents.ContainsRepresentation(surface)
    for segment_id, label_id in named(segmentation).items():
        contents.GetSegment(segment_id).SetLabelValue(label_id)
        contents.GetSegment(segment_id).AddRepresentation(contents.GetSourceRepresentationName(), voxels)
    voxels.Modified()  # the one event
    if has_surface:
        segmentation.CreateClosedSurfaceRepresentation()


def _grid(reference: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkOrientedImageData:
    """Return an image with the scan's grid and no voxels."""
    image, ijk_to_ras = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    image.SetDimensions(reference.GetImageData().GetDimensions())
    reference.GetIJKToRASMatrix(ijk_to_ras)
    image.SetImageToWorldMatrix(ijk_to_ras)
    return image


def layer(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, segment_id: str
) -> tuple[slicer.vtkOrientedImageData | None, np.ndarray, tuple[slice, ...]]:
    """Return the image that a segment shares with others, its values on the scan's grid, and where on it they lie.

    Where it lies on a grid of its own there is no such image, and the values are 1 inside.
    """
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segmentation.GetSegmentation().GetSegment(segment_id).GetRepresentation(name)
    # A transform on the scan alone moves what is seen, not what is drawn.
    together = segmentation.GetTransformNodeID() in (None, reference.GetTransformNodeID())
    matches = slicer.vtkOrientedImageDataResample.DoGeometriesMatch
    if image is None or not (together and matches(image, _grid(reference))):
        values = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, reference)
        return None, values, (slice(None),) * 3
    extent = np.reshape(image.GetExtent(), (3, 2))[::-1]  # first and last, K J I
    low = np.maximum(extent[:, 0], 0)
    high = np.maximum(np.minimum(extent[:, 1] + 1, reference.GetImageData().GetDimensions()[::-1]), low)
    if image.GetPointData().GetScalars() is None or (high <= low).any():
        return image, np.zeros((0, 0, 0), np.uint8), (slice(0, 0),) * 3
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(extent[:, 1] - extent[:, 0] + 1)
    inside = tuple(slice(a - first, b - first) for a, b, first in zip(low, high, extent[:, 0]))
    return image, values[inside], tuple(slice(a, b) for a, b in zip(low, high))


def _add_segments(
    contents: slicer.vtkSegmentation, labels: Sequence[Label], voxels: slicer.vtkOrientedImageData
) -> None:
    """Add a segment for each label; all show their id in one image, which Slicer's own import would search for each."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    contents.SetSourceRepresentationName(name)
    for index, label in enumerate(labels):
        segment = slicer.vtkSegment()
        segment.SetName(label.name)
        segment.NameAutoGeneratedOff()
        segment.SetColor(*([part / 255 for part in label.rgb] if label.rgb else structure_color(index)))
        segment.ColorAutoGeneratedOff()
        segment.SetTag(LABEL_ID, str(label.id))
        if label.snomed:
            segment.SetTag(segment.GetTerminologyEntryTagName(), _terminology(label))
        segment.SetLabelValue(label.id)
        segment.AddRepresentation(name, voxels)
        contents.AddSegment(segment)


def _terminology(label: Label) -> str:
    """Return Slicer's serialised terminology entry for a label with a SNOMED CT code."""
    no_code = ("", "", "")
    side = (label.modifier, "SCT", _SIDES.get(label.modifier, label.modifier)) if label.modifier else no_code
    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        "Segmentation category and type - 3D Slicer General Anatomy list",
        *("123037004", "SCT", "Anatomical Structure"),
        *(label.snomed, "SCT", label.name),
        *side,
        "Anatomic codes - DICOM master list",
        *no_code,
        *no_code,
    )
