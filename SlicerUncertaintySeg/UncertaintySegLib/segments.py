"""A label file becomes named, coloured segments; edited segments become a label file with the same ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer
import vtk

from UncertaintySegLib import nodes
from UncertaintySegLib.colors import structure_color
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.replies import Label

LABEL_ID = "UncertaintySeg.LabelId"


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
        SceneError: If the file cannot be read, or holds an id that is not in `labels`. The scene is then as before.
    """
    volume = nodes.read_volume(scene, path, name, labels=True)
    try:
        unknown = set(np.unique(slicer.util.arrayFromVolume(volume)).tolist()) - {0} - {label.id for label in labels}
        if unknown:
            raise SceneError(f"{path} holds label {min(unknown)}, which the model does not have.")
        segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        segmentation.CreateDefaultDisplayNodes()
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(volume, segmentation)
    finally:
        nodes.remove(scene, volume)
    _name_segments(segmentation, labels)
    return segmentation


def paint(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, labels: np.ndarray
) -> None:
    """Redraw the named segments, as an edit would.

    Args:
        segmentation: Has the segments.
        reference: The scan.
        labels: Label ids `[I, J, K]` in the voxel order of the scan's file.
    """
    ids = np.ascontiguousarray(labels.transpose(2, 1, 0))
    if reference.GetAttribute(nodes.LEFT_HANDED):
        ids = ids[::-1]
    for segment_id, label_id in _segments(segmentation).items():
        if label_id:
            mask = (ids == int(label_id)).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, reference)


def write_label(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, path: Path
) -> list[str]:
    """Write the named segments as a label file on the grid of the scan's file.

    Only segments that came from the model's labels are written, under their ids: any other (a mark drawn over an
    uncertain place, say) has no id and could take voxels from an organ. Where two overlap, the later one wins.

    Returns:
        Names of the segments left out.

    Raises:
        SceneError: If the segmentation has no named segment, or the file cannot be written.
    """
    segments = _segments(segmentation)
    named = {segment_id: int(label_id) for segment_id, label_id in segments.items() if label_id}
    if not named:
        raise SceneError(f"'{segmentation.GetName()}' has no segment that comes from a model: nothing to submit.")
    scene = segmentation.GetScene()
    volume = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", segmentation.GetName())
    try:
        written = slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
            segmentation, list(named), volume, reference, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        )
        if not written:
            raise SceneError(f"The segments of '{segmentation.GetName()}' cannot be exported.")
        # The export numbers the segments 1, 2, ... in the order of the list.
        ids = np.array([0, *named.values()], dtype=np.uint8 if max(named.values()) < 256 else np.uint16)
        slicer.util.updateVolumeFromArray(volume, ids[slicer.util.arrayFromVolume(volume)])
        if reference.GetAttribute(nodes.LEFT_HANDED):
            volume.SetAttribute(nodes.LEFT_HANDED, "1")
        nodes.write_volume(volume, path)
    finally:
        nodes.remove(scene, volume)
    contents = segmentation.GetSegmentation()
    return [contents.GetSegment(segment_id).GetName() for segment_id, label_id in segments.items() if not label_id]


def colors_by_id(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[int, tuple[float, float, float]]:
    """Return the colour of each named segment, in [0, 1], by its label id."""
    contents = segmentation.GetSegmentation()
    named = ((segment_id, label_id) for segment_id, label_id in _segments(segmentation).items() if label_id)
    return {int(label_id): contents.GetSegment(segment_id).GetColor() for segment_id, label_id in named}


def _segments(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[str, str | None]:
    """Return `{segment id: label id as text, or None}` in the order of the segmentation."""
    contents = segmentation.GetSegmentation()
    found = {}
    for segment_id in contents.GetSegmentIDs():
        label_id = vtk.mutable("")  # VTK hands strings back through such a box
        has_id = contents.GetSegment(segment_id).GetTag(LABEL_ID, label_id)
        found[segment_id] = str(label_id) if has_id else None
    return found


def _name_segments(segmentation: slicer.vtkMRMLSegmentationNode, labels: Sequence[Label]) -> None:
    contents = segmentation.GetSegmentation()
    imported = [contents.GetSegment(segment_id) for segment_id in contents.GetSegmentIDs()]
    by_value = {segment.GetLabelValue(): segment for segment in imported}
    for index, label in enumerate(labels):
        segment = by_value.get(label.id)
        if segment is None:
            segment = contents.GetSegment(contents.AddEmptySegment("", label.name))
        segment.SetName(label.name)
        segment.NameAutoGeneratedOff()
        segment.SetColor(*([part / 255 for part in label.rgb] if label.rgb else structure_color(index)))
        segment.ColorAutoGeneratedOff()
        segment.SetTag(LABEL_ID, str(label.id))
        if label.snomed:
            segment.SetTag(segment.GetTerminologyEntryTagName(), _terminology(label))


def _terminology(label: Label) -> str:
    """Return Slicer's serialised terminology entry for a label with a SNOMED CT code."""
    no_code = ("", "", "")
    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        "Segmentation category and type - 3D Slicer General Anatomy list",
        *("123037004", "SCT", "Anatomical Structure"),
        *(label.snomed, "SCT", label.name),
        *no_code,
        "Anatomic codes - DICOM master list",
        *no_code,
        *no_code,
    )
