"""Strokes of the Segment Editor, drawn by a test.

They hand a ball to the editor's logic as the brush would, so what changes is what the mask, the intensity range and the
overwrite rule of the `vtkMRMLSegmentEditorNode` allow.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from slicer_host.segment_editor import qMRMLSegmentEditorWidget


def paint(editor: qMRMLSegmentEditorWidget, ras: tuple[float, float, float], radius_mm: float) -> None:
    """Draw a ball of the selected segment."""
    _stroke(editor, ras, radius_mm, slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd)


def erase(editor: qMRMLSegmentEditorWidget, ras: tuple[float, float, float], radius_mm: float) -> None:
    """Take a ball away from the selected segment."""
    _stroke(editor, ras, radius_mm, slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove)


def _stroke(editor: qMRMLSegmentEditorWidget, ras: tuple[float, float, float], radius_mm: float, mode: int) -> None:
    logic = editor._logic
    logic.SaveStateForUndo()
    logic.UpdateReferenceGeometryImage()
    logic.UpdateAlignedSourceVolume()
    logic.ResetModifierLabelmapToDefault()
    brush = logic.GetModifierLabelmap()
    _draw_ball(brush, ras, radius_mm)
    logic.UpdateMaskLabelmap()
    logic.ModifySegmentByLabelmap(editor.segmentationNode(), editor.currentSegmentID(), brush, mode, False, False)


def _draw_ball(image: slicer.vtkOrientedImageData, ras: tuple[float, float, float], radius_mm: float) -> None:
    """Set the voxels to 1 whose centres lie within a radius."""
    to_world = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    matrix = slicer.util.arrayFromVTKMatrix(to_world)
    first_i, last_i, first_j, last_j, first_k, last_k = image.GetExtent()
    k, j, i = np.mgrid[first_k : last_k + 1, first_j : last_j + 1, first_i : last_i + 1]
    world = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(i.shape)
    voxels[np.linalg.norm(world - np.asarray(ras), axis=-1) <= radius_mm] = 1
    image.GetPointData().GetScalars().Modified()
    image.Modified()
