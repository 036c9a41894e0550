"""Pictures of the views, as files or as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

Ras = tuple[float, float, float]


def slice_views() -> dict[str, object]:
    """Return the slice view widgets of the layout by name ("Red", ...), as they lie on the screen."""
    manager = slicer.app.layoutManager()
    if manager is None:  # there is none without a main window
        return {}
    widgets = {name: manager.sliceWidget(name) for name in manager.sliceViewNames()}
    return {name: widget.sliceView() for name, widget in widgets.items() if widget.mrmlSliceNode().IsMappedInLayout()}


def three_d_view() -> object | None:
    """Return the first 3D view widget of the layout, or None."""
    manager = slicer.app.layoutManager()
    return manager.threeDWidget(0).threeDView() if manager is not None and manager.threeDViewCount else None


def png(view: object, *, square: bool = False) -> bytes:
    """Draw a view widget and return the picture as PNG, without the corner texts, which may name the patient.

    Args:
        view: The widget.
        square: Whether to leave out what is beyond the largest square in its middle.
    """
    corners = view.cornerAnnotation()
    were_visible = corners.GetVisibility()
    corners.SetVisibility(False)
    try:
        view.forceRender()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(view.renderWindow())
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        writer = vtk.vtkPNGWriter()
        writer.WriteToMemoryOn()
        drawn = _middle(grabber) if square else grabber  # VTK does not keep it
        writer.SetInputConnection(drawn.GetOutputPort())
        writer.Write()
        return vtk_to_numpy(writer.GetResult()).tobytes()
    finally:
        corners.SetVisibility(were_visible)
        view.scheduleRender()


def at_places(places: Sequence[tuple[Ras, float]]) -> list[dict[str, bytes]]:
    """Draw every slice view, without colour legends, at each of some places; afterwards all is as it was.

    Args:
        places: Positions in mm (RAS), each with how wide the picture, a square, then is, in mm.

    Returns:
        For each place the pictures by the name of the view.
    """
    views = slice_views()
    before = {name: _placement(view.mrmlSliceNode()) for name, view in views.items()}
    legends = [node for node in _shown(slicer.mrmlScene) if node.IsA("vtkMRMLColorLegendDisplayNode")]
    pictures = []
    try:
        for legend in legends:
            legend.SetVisibility(False)
        for position, field_mm in places:
            for view in views.values():
                _place(view.mrmlSliceNode(), position, field_mm)
            pictures.append({name: png(view, square=True) for name, view in views.items()})
    finally:
        for legend in legends:
            legend.SetVisibility(True)
        for name, view in views.items():
            _restore(view.mrmlSliceNode(), before[name])
    return pictures


def shows_surfaces(scene: slicer.vtkMRMLScene) -> bool:
    """Return whether 3D views have anything of a case to show: a surface or a volume rendering."""
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    return any(
        (node.IsA("vtkMRMLModelDisplayNode") and node.GetVisibility3D())
        or node.IsA("vtkMRMLVolumeRenderingDisplayNode")
        or (
            node.IsA("vtkMRMLSegmentationDisplayNode")
            and node.GetVisibility3D()
            and node.GetDisplayableNode() is not None
            and node.GetDisplayableNode().GetSegmentation().ContainsRepresentation(surface)
        )
        for node in _shown(scene)
    )


def _middle(grabber: vtk.vtkWindowToImageFilter) -> vtk.vtkExtractVOI:
    grabber.Update()
    width, height, _depth = grabber.GetOutput().GetDimensions()
    side = min(width, height)
    left, bottom = (width - side) // 2, (height - side) // 2
    crop = vtk.vtkExtractVOI()
    crop.SetInputConnection(grabber.GetOutputPort())
    crop.SetVOI(left, left + side - 1, bottom, bottom + side - 1, 0, 0)
    return crop


def _shown(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLDisplayNode]:
    found = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
    return [node for node in found if node.IsA("vtkMRMLDisplayNode") and node.GetVisibility()]


def _placement(node: slicer.vtkMRMLSliceNode) -> tuple[vtk.vtkMatrix4x4, list[float], list[float]]:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetSliceToRAS())
    return matrix, list(node.GetFieldOfView()), list(node.GetXYZOrigin())


def _place(node: slicer.vtkMRMLSliceNode, position: Ras, field_mm: float) -> None:
    width, height, depth = node.GetFieldOfView()
    node.SetXYZOrigin(0, 0, 0)
    node.JumpSliceByCentering(*position)
    scale = field_mm / min(width, height)
    node.SetFieldOfView(width * scale, height * scale, depth)


def _restore(node: slicer.vtkMRMLSliceNode, placement: tuple) -> None:
    matrix, field, origin = placement
    node.GetSliceToRAS().DeepCopy(matrix)
    node.SetFieldOfView(*field)
    node.SetXYZOrigin(*origin)
    node.UpdateMatrices()
