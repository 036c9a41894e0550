"""Where Slicer's Segment Editor may change the segments: inside a hidden segment, or everywhere."""

from __future__ import annotations

import numpy as np
import slicer

from UncertaintySegLib.scene import masks, nodes, segments

TAG = "UncertaintySeg"
SEGMENT = "UncertaintySeg.Uncertain"
_COLOR = (1.0, 0.85, 0.2)


def editor_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
    """Return the module's own settings of the Segment Editor."""
    node = scene.GetSingletonNode(TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(TAG)
        node = scene.AddNode(node)
        node.SetSaveWithScene(False)
    return node


def set_up(scene: slicer.vtkMRMLScene) -> None:
    """Choose the settings that a case begins with.

    What is drawn takes the place of the other visible segments, for a label has one structure a voxel. The segment that
    editing is confined to is not visible, so it stays.
    """
    node = editor_node(scene)
    node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    node.SetSourceVolumeIntensityMask(False)


def confine(
    segmentation: slicer.vtkMRMLSegmentationNode,
    reference: slicer.vtkMRMLScalarVolumeNode,
    mask: np.ndarray,
    name: str,
) -> None:
    """Let the Segment Editor change only the voxels of a mask.

    Args:
        segmentation: Gets the hidden segment, which is neither exported nor counted.
        reference: The scan.
        mask: bool `[K, J, I]` on the scan's grid.
        name: What the editor calls the segment.
    """
    contents = segmentation.GetSegmentation()
    source = contents.GetSourceRepresentationName()
    wanted = masks.new_segment(name, _COLOR, mask, reference)
    segment = contents.GetSegment(SEGMENT)
    if segment is None:
        wanted.SetTag(segments.HELPER, "1")
        contents.AddSegment(wanted, SEGMENT)
    else:
        segment.SetLabelValue(wanted.GetLabelValue())
        segment.AddRepresentation(source, wanted.GetRepresentation(source))
    nodes.display(segmentation).SetSegmentVisibility(SEGMENT, False)
    node = editor_node(segmentation.GetScene())
    node.SetMaskSegmentID(SEGMENT)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)


def free(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Let the Segment Editor change everything, and take the hidden segment away."""
    node = editor_node(segmentation.GetScene())
    if node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment:
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    node.SetMaskSegmentID(None)
    if segmentation.GetSegmentation().GetSegment(SEGMENT) is not None:
        segmentation.GetSegmentation().RemoveSegment(SEGMENT)


def grown(mask: np.ndarray, clip: bool = False) -> np.ndarray:
    """Return a mask, bool `[K, J, I]`, and the voxels that touch it, corners included; of a clip within each frame."""
    wide = mask.copy()
    for axis in range(1 if clip else 0, mask.ndim):
        before = wide.copy()
        low, high = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        wide[tuple(low)] |= before[tuple(high)]
        wide[tuple(high)] |= before[tuple(low)]
    return wide
