"""What is left to the reviewer: the voxels above a threshold, as one colour over the slices and a surface in 3D."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from UncertaintySegLib.scene import nodes, overlay

ROLE = "abstention"
COLOR = (1.0, 0.2, 0.9)  # neither the heat scale nor any structure has it
_HIGHEST = 1e30


class Abstention:
    """The part of a risk map above a threshold, beside that map or without it.

    In the slices it is a second volume node with the same voxels (none is copied) in the label layer, in one colour:
    moving the threshold changes one display property, and the views colour only the slices that they show. A label
    volume that somebody else put there comes back when this goes.

    Args:
        scene: Where it is shown.

    Attributes:
        volume, surface: The nodes, or None before `follow` and `update_surface`.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.volume: slicer.vtkMRMLScalarVolumeNode | None = None
        self.surface: slicer.vtkMRMLModelNode | None = None
        self.threshold = 0.0
        self.opacity = 0.5
        self._color = COLOR
        self._labels_before: dict[str, str] = {}

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green and blue in [0, 1]."""
        return self._color

    @property
    def is_shown(self) -> bool:
        """Whether a slice view has it."""
        return self._has(self.volume) and any(
            composite.GetLabelVolumeID() == self.volume.GetID() for composite in overlay.slice_composites(self.scene)
        )

    def follow(self, risk: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show the voxels of this map from now on; call it again when the map got others."""
        case = risk.GetAttribute(nodes.CASE)
        if not self._has(self.volume):
            self.volume = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{case} to review")
            nodes.mark_private(self.volume, case, ROLE)
            self.volume.CreateDefaultDisplayNodes()
            self._style(case)
        ijk_to_ras = vtk.vtkMatrix4x4()
        risk.GetIJKToRASMatrix(ijk_to_ras)
        self.volume.SetIJKToRASMatrix(ijk_to_ras)
        self.volume.SetAndObserveTransformNodeID(risk.GetTransformNodeID())
        if self.volume.GetImageData() is not risk.GetImageData():
            self.volume.SetAndObserveImageData(risk.GetImageData())
        self.set_threshold(self.threshold)

    def set_threshold(self, threshold: float) -> None:
        """Show the voxels above `threshold`; the surface keeps its own until `update_surface`."""
        self.threshold = threshold
        if self._has(self.volume):
            above = float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
            self.volume.GetScalarVolumeDisplayNode().SetThreshold(above, _HIGHEST)

    def set_opacity(self, opacity: float) -> None:
        """Set how opaque it is over the slices, 0 to 1."""
        self.opacity = opacity
        if self.is_shown:
            for composite in overlay.slice_composites(self.scene):
                composite.SetLabelOpacity(opacity)

    def set_color(self, color: tuple[float, float, float]) -> None:
        """Set its red, green and blue in [0, 1], everywhere."""
        self._color = color
        if self._has(self.volume):
            table = self.volume.GetScalarVolumeDisplayNode().GetColorNode()
            for index in range(table.GetNumberOfColors()):
                table.SetColor(index, *color, 1.0)
        if self._has(self.surface):
            nodes.display(self.surface).SetColor(color)

    def show(self, visible: bool) -> None:
        """Put it into every slice view, or take it away."""
        if not self._has(self.volume):
            return
        own = self.volume.GetID()
        for composite in overlay.slice_composites(self.scene):
            shown = composite.GetLabelVolumeID()
            if visible and shown != own:
                self._labels_before[composite.GetID()] = shown
                composite.SetLabelVolumeID(own)
                composite.SetLabelOpacity(self.opacity)
            elif not visible and shown == own:
                before = self._labels_before.get(composite.GetID())
                composite.SetLabelVolumeID(before if before and self.scene.GetNodeByID(before) else None)

    def show_surface(self, *, outlines: bool, solid: bool) -> None:
        """Show the surface as outlines in the slices, as a solid in 3D, in both or in none."""
        if self._has(self.surface):
            display = nodes.display(self.surface)
            display.SetVisibility2D(outlines)
            display.SetVisibility3D(solid)
            display.SetVisibility(outlines or solid)

    def update_surface(self) -> None:
        """Draw the surface around the voxels above the threshold; takes some tenths of a second."""
        if not self._has(self.volume):
            return
        if not self._has(self.surface):
            case = self.volume.GetAttribute(nodes.CASE)
            self.surface = self.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{case} to review, surface")
            nodes.mark_private(self.surface, case, ROLE)
            self.surface.CreateDefaultDisplayNodes()
            display = nodes.display(self.surface)
            display.SetColor(self._color)
            display.SetOpacity(0.5)
            display.SetSliceIntersectionThickness(2)
            display.SetVisibility(False)
        self.surface.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())
        self.surface.SetAndObservePolyData(_surface(self.volume, self.threshold))

    def clear(self) -> None:
        """Remove it from the scene."""
        self.show(False)
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.volume = self.surface = None

    def _has(self, node: slicer.vtkMRMLNode | None) -> bool:
        return node is not None and node.GetScene() is self.scene

    def _style(self, case: str) -> None:
        table = self.scene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{case} to review, colour")
        nodes.mark_private(table, case, ROLE)
        table.SetTypeToUser()
        table.SetNumberOfColors(2)
        display = self.volume.GetScalarVolumeDisplayNode()
        display.SetAndObserveColorNodeID(table.GetID())
        display.AutoWindowLevelOff()
        display.InterpolateOff()  # whole voxels, as they are counted
        display.ApplyThresholdOn()
        self.set_color(self._color)


def _surface(volume: slicer.vtkMRMLScalarVolumeNode, threshold: float) -> vtk.vtkPolyData:
    """Return the surface, in RAS, around the voxels above the threshold; closed at the border of the volume too."""
    image = volume.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    box = _box(values > threshold)
    if box is None:
        return vtk.vtkPolyData()
    extent = [value for low, high in box[::-1] for value in (low - 1, high + 1)]
    crop = vtk.vtkImageConstantPad()  # shrinks as well, and fills with zeros what lies outside
    crop.SetInputData(image)
    crop.SetOutputWholeExtent(*extent)
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputConnection(crop.GetOutputPort())
    edges.SetValue(0, max(threshold, float(np.finfo(np.float32).tiny)))
    edges.ComputeNormalsOn()
    to_ras, matrix = vtk.vtkTransform(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    to_ras.SetMatrix(matrix)
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputConnection(edges.GetOutputPort())
    placed.SetTransform(to_ras)
    placed.Update()
    return placed.GetOutput()


def _box(mask: np.ndarray) -> list[tuple[int, int]] | None:
    """Return first and last index of the true voxels along each axis, or None."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slices.size:
        return None
    middle = mask[slices[0] : slices[-1] + 1]
    rows, columns = np.flatnonzero(middle.any(axis=(0, 2))), np.flatnonzero(middle.any(axis=(0, 1)))
    return [(int(found[0]), int(found[-1])) for found in (slices, rows, columns)]
