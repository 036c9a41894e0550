"""Structures in 3D, their surface coloured by the risk at it."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from UncertaintySegLib.scene import masks, nodes
from UncertaintySegLib.scene.colors import heat_table

ROLE = "risk surface"
_SEPARATE = 16
"""So many structures get a surface each; more get one around them all, or Slicer would stand still for a minute."""


class RiskSurface:
    """The surface of some structures as one model, coloured by a risk map.

    Args:
        scene: Where it is shown.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.model: slicer.vtkMRMLModelNode | None = None

    @property
    def is_there(self) -> bool:
        """Whether the surface is in the scene."""
        return self.model is not None and self.model.GetScene() is self.scene

    def show(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_ids: Sequence[str],
        risk: slicer.vtkMRMLScalarVolumeNode,
        maximum: float,
        scale: str = "heat",
    ) -> None:
        """Show the surface of these segments, as the segmentation smooths it; the segmentation stays as it is.

        Args:
            segmentation: Has the segments.
            segment_ids: Which; empty ones are left out.
            risk: The map that colours it.
            maximum: Top of the colour scale.
            scale: One of `colors.SCALES`.
        """
        surface = _colored(_closed_surface(segmentation, segment_ids, risk), risk)
        model = self._node(risk)
        model.SetAndObservePolyData(surface)
        model.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
        display = nodes.display(model)
        display.SetAndObserveColorNodeID(heat_table(self.scene, scale).GetID())
        display.SetActiveScalar(risk.GetName(), vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
        display.SetScalarRange(0.0, maximum)
        display.SetScalarVisibility(True)

    def clear(self) -> None:
        """Remove the surface from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.model = None

    def _node(self, risk: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLModelNode:
        if not self.is_there:
            case = risk.GetAttribute(nodes.CASE)
            self.model = self.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{case} risk surface")
            nodes.mark_private(self.model, case, ROLE)
            self.model.CreateDefaultDisplayNodes()
            self.model.GetDisplayNode().SetVisibility2D(False)
            self.model.GetDisplayNode().SetSpecular(0.1)  # shine would pass for risk
        return self.model


def _closed_surface(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    reference: slicer.vtkMRMLScalarVolumeNode,
) -> vtk.vtkPolyData:
    """Return the surface of some segments, made with the segmentation's own settings but without changing it."""
    contents = segmentation.GetSegmentation()
    some = slicer.vtkSegmentation()
    some.SetSourceRepresentationName(contents.GetSourceRepresentationName())
    if len(segment_ids) > _SEPARATE:
        some.AddSegment(masks.union(segmentation, segment_ids, reference))
    else:
        for segment_id in segment_ids:
            some.CopySegmentFromSegmentation(contents, segment_id, False)
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    smoothing = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule.GetSmoothingFactorParameterName()
    some.SetConversionParameter(smoothing, contents.GetConversionParameter(smoothing))
    both = vtk.vtkAppendPolyData()
    if some.GetNumberOfSegments() and some.CreateRepresentation(surface):
        for segment_id in some.GetSegmentIDs():
            part = some.GetSegment(segment_id).GetRepresentation(surface)
            if part is not None and part.GetNumberOfPoints():
                both.AddInputData(part)
    if not both.GetNumberOfInputConnections(0):
        return vtk.vtkPolyData()
    both.Update()
    return both.GetOutput()


def _colored(surface: vtk.vtkPolyData, risk: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkPolyData:
    """Return the surface with the map's values at its points, under the map's name."""
    if not surface.GetNumberOfPoints():
        return surface
    ras_to_ijk = vtk.vtkMatrix4x4()
    risk.GetRASToIJKMatrix(ras_to_ijk)
    to_voxels = vtk.vtkTransform()
    to_voxels.SetMatrix(ras_to_ijk)
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputData(surface)
    placed.SetTransform(to_voxels)
    probe = vtk.vtkProbeFilter()
    probe.SetInputConnection(placed.GetOutputPort())
    probe.SetSourceData(risk.GetImageData())
    probe.Update()
    values = vtk.vtkFloatArray()
    values.DeepCopy(probe.GetOutput().GetPointData().GetScalars())
    values.SetName(risk.GetName())
    colored = vtk.vtkPolyData()
    colored.ShallowCopy(surface)
    colored.GetPointData().SetScalars(values)
    return colored
