"""The risk map as a glow in 3D."""

from __future__ import annotations

import slicer
import vtk

from UncertaintySegLib.scene import nodes
from UncertaintySegLib.scene.colors import heat_scale

ROLE = "volume rendering"
_OPACITY = 0.4  # of the riskiest voxel, so that what lies behind it is still seen
_COLORS = 16


def show(volume: slicer.vtkMRMLScalarVolumeNode, threshold: float, maximum: float, scale: str = "heat") -> None:
    """Render this map alone: nothing below the threshold, more and more opaque up to the top of the scale.

    Args:
        volume: The map.
        threshold: In the map's unit.
        maximum: Top of the colour scale.
        scale: One of `colors.SCALES`.
    """
    clear(volume.GetScene(), keep=volume)
    display = _display(volume) or _new_display(volume)
    properties = display.GetVolumePropertyNode().GetVolumeProperty()
    opacity, colors = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    start = min(max(threshold, 1e-3 * maximum), 0.98 * maximum)
    for value, alpha in ((0.0, 0.0), (0.999 * start, 0.0), (start, 0.15 * _OPACITY), (maximum, _OPACITY)):
        opacity.AddPoint(value, alpha)
    for index, color in enumerate(heat_scale(_COLORS, scale)):
        colors.AddRGBPoint(maximum * index / (_COLORS - 1), *color)
    properties.SetScalarOpacity(opacity)
    properties.SetColor(colors)
    display.SetVisibility(True)


def clear(scene: slicer.vtkMRMLScene, keep: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
    """Remove the renderings of all maps, or of all but one; the maps stay."""
    kept = _display(keep) if keep is not None else None
    for node in nodes.marked(scene, ROLE):
        if kept is None or node not in (kept, kept.GetVolumePropertyNode()):
            nodes.remove(scene, node)


def _display(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLVolumeRenderingDisplayNode | None:
    return slicer.modules.volumerendering.logic().GetFirstVolumeRenderingDisplayNode(volume)


def _new_display(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLVolumeRenderingDisplayNode:
    display = slicer.modules.volumerendering.logic().CreateDefaultVolumeRenderingNodes(volume)
    case = volume.GetAttribute(nodes.CASE)
    for node in (display, display.GetVolumePropertyNode()):
        nodes.mark_private(node, case, ROLE)
    properties = display.GetVolumePropertyNode().GetVolumeProperty()
    properties.SetInterpolationTypeToLinear()
    properties.ShadeOff()
    return display
