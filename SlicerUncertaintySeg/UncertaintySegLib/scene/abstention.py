"""What is left to the reviewer: the voxels above a threshold, as one colour over the slices and a surface in 3D."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from UncertaintySegLib.scene import nodes
from UncertaintySegLib.scene.colors import TO_REVIEW

ROLE = "abstention"
_SEGMENT = "to review"


class Abstention:
    """The part of a risk map above a threshold, beside that map or without it.

    In the slices it is the one segment of a segmentation of its own: a fractional label map with the voxels of the map
    (none is copied), of which the views fill what is above the threshold. Moving that colours only the slices that the
    views show. No layer of the slice views is taken: the Segment Editor clears the label layer whenever it gets another
    segmentation.

    Args:
        scene: Where it is shown.

    Attributes:
        segmentation, surface: The nodes, or None before `follow` and `update_surface`.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self.surface: slicer.vtkMRMLModelNode | None = None
        self.threshold = 0.0
        self.opacity = 0.5
        self._color = TO_REVIEW

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green and blue in [0, 1]."""
        return self._color

    @property
    def is_shown(self) -> bool:
        """Whether the slice views have it."""
        return self._has(self.segmentation) and bool(nodes.display(self.segmentation).GetVisibility())

    def prepare(self, case: str) -> None:
        """Take its place, without a voxel, in the views of a new case.

        They draw segmentations in the order in which the image of each first came: this one is to lie below the
        outlines of the structures.
        """
        if not self._has(self.segmentation):
            self.segmentation = self._new_segmentation(case)
        self._fill(_nothing(), vtk.vtkMatrix4x4())
        self.show_surface(outlines=False, solid=False)

    def follow(self, risk: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show the voxels of this map from now on; call it again when the map got others."""
        if not self._has(self.segmentation):
            self.prepare(risk.GetAttribute(nodes.CASE))
        self.segmentation.SetAndObserveTransformNodeID(risk.GetTransformNodeID())
        ijk_to_ras = vtk.vtkMatrix4x4()
        risk.GetIJKToRASMatrix(ijk_to_ras)
        self._fill(risk.GetImageData(), ijk_to_ras)
        self.set_threshold(self.threshold)

    def _fill(self, voxels: vtk.vtkImageData, ijk_to_ras: vtk.vtkMatrix4x4) -> None:
        image = self._image() or slicer.vtkOrientedImageData()
        image.ShallowCopy(voxels)
        image.SetImageToWorldMatrix(ijk_to_ras)
        names = slicer.vtkSegmentationConverter
        _set_field(image, vtk.vtkDoubleArray(), names.GetScalarRangeFieldName(), 0.0, 1.0)
        _set_field(image, vtk.vtkDoubleArray(), names.GetThresholdValueFieldName(), 0.0)
        # Whole voxels, as they are counted.
        _set_field(image, vtk.vtkIntArray(), names.GetInterpolationTypeFieldName(), vtk.VTK_NEAREST_INTERPOLATION)
        if self._image() is not image:
            self._segment().AddRepresentation(names.GetFractionalLabelmapRepresentationName(), image)
        image.Modified()
        nodes.display(self.segmentation).Modified()

    def set_threshold(self, threshold: float) -> None:
        """Show the voxels above `threshold`; the surface keeps its own until `update_surface`."""
        self.threshold = threshold
        image = self._image()
        if image is not None:
            highest_hidden = np.float32(threshold)  # VTK compares as float32, which may have rounded it up
            if highest_hidden > threshold:
                highest_hidden = np.nextafter(highest_hidden, np.float32(-np.inf))
            field = image.GetFieldData().GetArray(slicer.vtkSegmentationConverter.GetThresholdValueFieldName())
            field.SetValue(0, float(highest_hidden))
            nodes.display(self.segmentation).Modified()

    def set_opacity(self, opacity: float) -> None:
        """Set how opaque it is over the slices, 0 to 1."""
        self.opacity = opacity
        if self._has(self.segmentation):
            nodes.display(self.segmentation).SetOpacity2DFill(opacity)

    def set_color(self, color: tuple[float, float, float]) -> None:
        """Set its red, green and blue in [0, 1], everywhere."""
        self._color = color
        if self._has(self.segmentation):
            self._segment().SetColor(*color)
        if self._has(self.surface):
            nodes.display(self.surface).SetColor(color)

    def show(self, visible: bool) -> None:
        """Put it into every slice view, or take it away."""
        if self._has(self.segmentation):
            nodes.display(self.segmentation).SetVisibility(visible)

    def show_surface(self, *, outlines: bool, solid: bool) -> None:
        """Show the surface as outlines in the slices, as a solid in 3D, in both or in none."""
        if self._has(self.surface):
            display = nodes.display(self.surface)
            display.SetVisibility2D(outlines)
            display.SetVisibility3D(solid)
            display.SetVisibility(outlines or solid)

    def update_surface(self) -> None:
        """Draw the surface around the voxels above the threshold; takes some tenths of a second."""
        image = self._image()
        if image is None:
            return
        if not self._has(self.surface):
            case = self.segmentation.GetAttribute(nodes.CASE)
            self.surface = self.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{case} to review, surface")
            nodes.mark_private(self.surface, case, ROLE)
            self.surface.CreateDefaultDisplayNodes()
            display = nodes.display(self.surface)
            display.SetColor(self._color)
            display.SetOpacity(0.5)
            display.SetSliceIntersectionThickness(2)
            display.SetVisibility(False)
        self.surface.SetAndObserveTransformNodeID(self.segmentation.GetTransformNodeID())
        self.surface.SetAndObservePolyData(_surface(image, self.threshold))

    def clear(self) -> None:
        """Remove it from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.segmentation = self.surface = None

    def _has(self, node: slicer.vtkMRMLNode | None) -> bool:
        return node is not None and node.GetScene() is self.scene

    def _segment(self) -> slicer.vtkSegment:
        """Return the segment, anew where somebody has deleted it."""
        contents = self.segmentation.GetSegmentation()
        segment = contents.GetSegment(_SEGMENT)
        if segment is None:
            segment = slicer.vtkSegment()
            segment.SetName(_SEGMENT)
            segment.SetColor(*self._color)
            contents.AddSegment(segment, _SEGMENT)
        return segment

    def _image(self) -> slicer.vtkOrientedImageData | None:
        """Return the voxels that are shown."""
        segment = self.segmentation.GetSegmentation().GetSegment(_SEGMENT) if self._has(self.segmentation) else None
        name = slicer.vtkSegmentationConverter.GetFractionalLabelmapRepresentationName()
        return segment.GetRepresentation(name) if segment is not None else None

    def _new_segmentation(self, case: str) -> slicer.vtkMRMLSegmentationNode:
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{case} to review")
        nodes.mark_private(node, case, ROLE)
        name = slicer.vtkSegmentationConverter.GetFractionalLabelmapRepresentationName()
        node.GetSegmentation().SetSourceRepresentationName(name)
        display = nodes.display(node)
        display.SetPreferredDisplayRepresentationName2D(name)
        display.SetVisibility2DOutline(False)
        display.SetVisibility3D(False)
        display.SetOpacity2DFill(self.opacity)
        display.SetVisibility(False)
        return node


def _nothing() -> vtk.vtkImageData:
    image = vtk.vtkImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(vtk.VTK_FLOAT, 1)
    image.GetPointData().GetScalars().Fill(0.0)
    return image


def _set_field(image: vtk.vtkImageData, field: vtk.vtkDataArray, name: str, *values: float) -> None:
    field.SetName(name)
    for value in values:
        field.InsertNextValue(value)
    image.GetFieldData().AddArray(field)


def _surface(image: slicer.vtkOrientedImageData, threshold: float) -> vtk.vtkPolyData:
    """Return the surface, in RAS, around the voxels above the threshold; closed at the border of the volume too."""
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    box = _box(values > threshold)
    if box is None:
        return vtk.vtkPolyData()
    extent = [value for low, high in box[::-1] for value in (low - 1, high + 1)]
    voxels = vtk.vtkImageData()
    voxels.ShallowCopy(image)
    voxels.SetOrigin(0.0, 0.0, 0.0)
    voxels.SetSpacing(1.0, 1.0, 1.0)
    crop = vtk.vtkImageConstantPad()  # shrinks as well, and fills with zeros what lies outside
    crop.SetInputData(voxels)
    crop.SetOutputWholeExtent(*extent)
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputConnection(crop.GetOutputPort())
    edges.SetValue(0, max(threshold, float(np.finfo(np.float32).tiny)))
    edges.ComputeNormalsOn()
    to_ras, matrix = vtk.vtkTransform(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
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
