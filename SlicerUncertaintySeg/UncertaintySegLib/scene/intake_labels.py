"""A segmentation that is already in the scene, whoever made it, becomes a label that a model's risk can be had of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import nodes, segments

_GRID_TOLERANCE = 1e-3  # voxels
_DEFAULT_COLORS = "FileGenericColors.txt"


@dataclass(frozen=True)
class Part:
    """One structure of a segmentation or label map.

    Attributes:
        id: Of its segment; in a label map, its value.
        name: What it is called.
        code: Its SNOMED CT code, empty where none is noted.
        modifier: SNOMED CT code of its side, empty where none is noted.
        value: What its voxels are in a label map, or would be.
        label_id: The label of a model that this module once made it from, or None.
    """

    id: str
    name: str
    code: str = ""
    modifier: str = ""
    value: int = 0
    label_id: int | None = None


@dataclass(frozen=True)
class Taken:
    """What came of a segmentation.

    Attributes:
        resampled: Whether its voxels lay elsewhere than those of the scan.
        others: The segments that no label was chosen for, to be shown but not scored.
    """

    resampled: bool
    others: slicer.vtkSegmentation


def parts(node: slicer.vtkMRMLNode | None) -> list[Part]:
    """Return the structures of a segmentation or a label map volume.

    Raises:
        SceneError: The node is gone, or has none.
    """
    if node is None or node.GetScene() is None:
        raise SceneError(_("Choose a segmentation of the scene."))
    found = _label_map_parts(node) if node.IsA("vtkMRMLVolumeNode") else _segment_parts(node.GetSegmentation())
    if not found:
        raise SceneError(_("{name} is empty: choose a segmentation with at least one segment.").format(
            name=node.GetName()
        ))  # fmt: skip
    return found


def write_label(
    node: slicer.vtkMRMLNode,
    labels: Mapping[str, int | None],
    scan: slicer.vtkMRMLScalarVolumeNode,
    path: Path,
) -> Taken:
    """Write a segmentation as a label file on the grid of the scan's file, resampled where need be.

    Args:
        node: A segmentation or a label map volume; it stays as it is.
        labels: Label id for each `Part.id`; parts that have none are left out. Where two overlap, the later one wins.
        scan: The scan of the case.
        path: Where to.

    Raises:
        SceneError: The node or the scan is gone, no part has a label, or none of it lies within the scan.
    """
    parts(node)
    if scan is None or scan.GetScene() is None:
        raise SceneError(_("The scan is no longer in the scene: take the case again."))
    if not any(labels.values()):
        raise SceneError(_("Say for at least one segment of {name} which label it is.").format(name=node.GetName()))
    copy = _standing_copy(node)
    try:
        contents, others = copy.GetSegmentation(), slicer.vtkSegmentation()
        ids = {segment_id: _part_id(node, contents, segment_id) for segment_id in contents.GetSegmentIDs()}
        for segment_id, part_id in ids.items():
            segment = contents.GetSegment(segment_id)
            segment.RemoveTag(segments.LABEL_ID)
            if labels.get(part_id):
                segment.SetTag(segments.LABEL_ID, str(labels[part_id]))
            else:
                others.CopySegmentFromSegmentation(contents, segment_id)
        segments.write_label(copy, scan, path)
        resampled = not _on_grid(contents, scan)
    finally:
        nodes.remove(node.GetScene(), copy)
    _refuse_empty(path, node)
    return Taken(resampled, others)


def add_others(segmentation: slicer.vtkMRMLSegmentationNode, others: slicer.vtkSegmentation) -> None:
    """Show the segments that have no label beside those that have one."""
    for segment_id in others.GetSegmentIDs():
        segmentation.GetSegmentation().CopySegmentFromSegmentation(others, segment_id)


def _segment_parts(contents: slicer.vtkSegmentation) -> list[Part]:
    found = []
    for segment_id in contents.GetSegmentIDs():
        segment = contents.GetSegment(segment_id)
        codes = _snomed(_tag(segment, segment.GetTerminologyEntryTagName()))
        label_id, value = _tag(segment, segments.LABEL_ID), segment.GetLabelValue()
        found.append(Part(segment_id, segment.GetName(), *codes, value, int(label_id) if label_id else None))
    return found


def _label_map_parts(volume: slicer.vtkMRMLVolumeNode) -> list[Part]:
    if volume.GetImageData() is None:
        return []
    colors = _naming_colors(volume)
    values = vtk.vtkIntArray()
    slicer.modules.segmentations.logic().GetAllLabelValues(values, volume.GetImageData())
    found = sorted(int(values.GetValue(index)) for index in range(values.GetNumberOfValues()))
    names = {value: (colors and colors.GetColorName(value)) or f"label {value}" for value in found}
    return [Part(str(value), name, value=value) for value, name in names.items()]


def _naming_colors(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLColorNode | None:
    """Return the colours whose names are those of structures; the default tables name their colours anyhow."""
    display = volume.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    if colors is None or colors.GetTypeAsString() == "Labels" or colors.GetSingletonTag() == _DEFAULT_COLORS:
        return None
    return colors


def _part_id(node: slicer.vtkMRMLNode, contents: slicer.vtkSegmentation, segment_id: str) -> str:
    return str(contents.GetSegment(segment_id).GetLabelValue()) if node.IsA("vtkMRMLVolumeNode") else segment_id


def _standing_copy(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSegmentationNode:
    """Return a hidden copy as binary label maps, without a transform."""
    copy = node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", node.GetName())
    copy.SetHideFromEditors(True)
    if node.IsA("vtkMRMLVolumeNode"):
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(node, copy)
    else:
        copy.GetSegmentation().DeepCopy(node.GetSegmentation())
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    copy.HardenTransform()
    copy.GetSegmentation().CreateRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    )
    return copy


def _on_grid(contents: slicer.vtkSegmentation, scan: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Return whether every voxel of the segments is a voxel of the scan."""
    ras_to_ijk, to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    scan.GetRASToIJKMatrix(ras_to_ijk)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for segment_id in contents.GetSegmentIDs():
        image = contents.GetSegment(segment_id).GetRepresentation(name)
        if image is None or image.IsEmpty():
            continue
        image.GetImageToWorldMatrix(to_world)
        step = slicer.util.arrayFromVTKMatrix(ras_to_ijk) @ slicer.util.arrayFromVTKMatrix(to_world)
        shift = np.linalg.norm(step - np.rint(step), axis=0) > _GRID_TOLERANCE
        if shift.any() or not np.allclose(np.abs(step[:3, :3]).sum(axis=0), 1, atol=_GRID_TOLERANCE):
            return False
    return True


def _refuse_empty(path: Path, node: slicer.vtkMRMLNode) -> None:
    volume = nodes.read_volume(node.GetScene(), path, path.name, labels=True)
    try:
        if not slicer.util.arrayFromVolume(volume).any():
            text = _("{name} has no voxel within the scan under the labels chosen.")
            raise SceneError(text.format(name=node.GetName()))
    finally:
        nodes.remove(node.GetScene(), volume)


def _tag(segment: slicer.vtkSegment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _snomed(entry: str) -> tuple[str, str]:
    """Return the SNOMED CT codes of type and type modifier in a serialised terminology entry: ~~type~modifier~..."""
    fields = [(*field.split("^"), "", "")[:2] for field in entry.split("~")[2:4]]
    codes = [code if scheme in ("SCT", "SRT") else "" for scheme, code in fields]
    return (*codes, "", "")[:2]
