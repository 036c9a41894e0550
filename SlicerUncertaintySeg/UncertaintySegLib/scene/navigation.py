"""The views go to a place of the case, and a box shows what is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import slicer
import vtk

from UncertaintySegLib.scene import flat, nodes
from UncertaintySegLib.scene.colors import REGION_BOX

Ijk = tuple[int, int, int]
Box = tuple[Ijk, Ijk]
Ras = tuple[float, float, float]

ROLE = "region box"
_DASHES = 9  # parts of an edge, every other one drawn; odd, so that both ends are
_MARGIN = 1.6  # a region fills five eighths of a view
_FRAME = 1.15  # what a 3D view shows is so much wider than what it is framed on
_LEAST_MM = 40.0  # a view shows no less than this, so that a reader knows where they are


def file_to_ras(scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the 4 x 4 matrix from IJK of the scan's file to mm (RAS)."""
    ijk_to_ras = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(ijk_to_ras)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
    if scan.GetAttribute(nodes.LEFT_HANDED):
        last = scan.GetImageData().GetDimensions()[2] - 1
        matrix = matrix @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, last], [0, 0, 0, 1]])
    return matrix


def file_box(scan: slicer.vtkMRMLScalarVolumeNode, first: Ijk, last: Ijk) -> Box:
    """Return a box, given by its first and last voxel as K J I of the scan's node, in IJK of the scan's file."""
    low, high = list(first[::-1]), list(last[::-1])
    if scan.GetAttribute(nodes.LEFT_HANDED):
        end = scan.GetImageData().GetDimensions()[2] - 1
        low[2], high[2] = end - high[2], end - low[2]
    return tuple(low), tuple(high)


def node_index(scan: slicer.vtkMRMLScalarVolumeNode, voxels: Sequence[Ijk]) -> tuple[np.ndarray, ...]:
    """Return what takes voxels, given as IJK of the scan's file, out of an array `[K, J, I]` of its node."""
    i, j, k = np.array(voxels, dtype=int).reshape(-1, 3).T
    if scan.GetAttribute(nodes.LEFT_HANDED):
        k = scan.GetImageData().GetDimensions()[2] - 1 - k
    return k, j, i


def corners(scan: slicer.vtkMRMLScalarVolumeNode, box: Box) -> np.ndarray:
    """Return the outer corners of a box of voxels, IJK of the scan's file, in mm (RAS), `[8, 3]`, I fastest."""
    low, high = np.array(box[0]) - 0.5, np.array(box[1]) + 0.5
    which = np.array([[i, j, k] for k in (0, 1) for j in (0, 1) for i in (0, 1)])
    ijk = np.where(which, high, low)
    return (np.c_[ijk, np.ones(8)] @ file_to_ras(scan).T)[:, :3]


def look_at(scene: slicer.vtkMRMLScene, position: Ras, around: np.ndarray) -> None:
    """Move every slice view to the slice through a position, zoomed to what is around; 3D views turn about it.

    Args:
        scene: Whose views.
        position: In mm (RAS).
        around: Points in mm (RAS), `[N, 3]`, that a view shall show.
    """
    slicer.app.pauseRender()
    try:
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
            _place_slice(node, np.array(position), around)
        for node in slicer.util.getNodesByClass("vtkMRMLViewNode", scene):
            _turn_about(node, np.array(position))
    finally:
        slicer.app.resumeRender()


def are_shown(scan: slicer.vtkMRMLScalarVolumeNode, points: Sequence[Ras]) -> np.ndarray:
    """Return which points lie in the slice and within the frame of a slice view of the layout, `[N]` of bool.

    Args:
        scan: Half a voxel of it, across the slice, is how far from the slice a point may be.
        points: In mm (RAS), `[N, 3]`.
    """
    places = np.c_[np.array(points, dtype=float).reshape(-1, 3), np.ones(len(points))]
    voxel = file_to_ras(scan)[:3, :3]
    shown = np.zeros(len(points), dtype=bool)
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", scan.GetScene()):
        if not node.IsMappedInLayout():
            continue
        to_ras = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        half = np.abs(to_ras[:3, 2] @ voxel).sum() / 2
        across = (places[:, :3] - to_ras[:3, 3]) @ to_ras[:3, 2]
        pixels = places @ np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS())).T
        size = node.GetDimensions()[:2]
        framed = ((pixels[:, :2] >= 0) & (pixels[:, :2] <= size)).all(axis=1)
        shown |= framed & (np.abs(across) <= half)
    return shown


def views_stamp(scene: slicer.vtkMRMLScene) -> tuple[object, ...]:
    """Return what is another one whenever somebody has moved a view, or the mouse over a slice."""
    kinds = ("vtkMRMLSliceNode", "vtkMRMLCameraNode", "vtkMRMLCrosshairNode")
    found = [node for kind in kinds for node in slicer.util.getNodesByClass(kind, scene)]
    cursor = [0.0, 0.0, 0.0]
    for node in found:
        if node.IsA("vtkMRMLCrosshairNode"):
            node.GetCursorPositionRAS(cursor)
    return (*(node.GetMTime() for node in found), *cursor)


def frame_3d(scene: slicer.vtkMRMLScene, around: np.ndarray) -> None:
    """Turn every 3D view to what is around, as large as the view holds it, from where it is seen now.

    Args:
        scene: Whose views.
        around: Points in mm (RAS), `[N, 3]`.
    """
    middle = (around.min(axis=0) + around.max(axis=0)) / 2
    radius = max(float(np.linalg.norm(around - middle, axis=1).max()), _LEAST_MM / 4)
    for node in slicer.util.getNodesByClass("vtkMRMLViewNode", scene):
        camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(node)
        if camera is None:
            continue
        line = np.array(camera.GetPosition()) - np.array(camera.GetFocalPoint())
        far = _FRAME * radius / math.sin(math.radians(camera.GetViewAngle()) / 2)
        camera.SetFocalPoint(*middle)
        camera.SetPosition(*(middle + far * line / max(float(np.linalg.norm(line)), 1e-6)))
        camera.ResetClippingRange()


def fit(scan: slicer.vtkMRMLVolumeNode | None) -> None:
    """Show the whole scan in every slice view, of a clip the frame that is shown."""
    manager = slicer.app.layoutManager()
    if manager is None:  # there is none without a main window
        return
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode") if flat.is_clip(scan) else []
    before = [(view, view.GetSliceOffset()) for view in views]
    manager.resetSliceViews()
    for view, offset in before:
        view.SetSliceOffset(offset)


class RegionBox:
    """A box around a region: dashed lines in the slices, its edges in 3D.

    Args:
        scene: Where it is shown.

    Attributes:
        in_slices, in_3d: Its models, or None before it is shown first.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.in_slices: slicer.vtkMRMLModelNode | None = None
        self.in_3d: slicer.vtkMRMLModelNode | None = None

    def show(self, case: str, points: np.ndarray) -> None:
        """Show the box with these corners, as `corners` returns them."""
        if not self._are_there:
            self.in_slices, self.in_3d = (self._new_model(case, in_3d=in_3d) for in_3d in (False, True))
        self.in_slices.SetAndObservePolyData(_hull(points, _DASHES))
        self.in_3d.SetAndObservePolyData(_hull(points, 1))
        for model in (self.in_slices, self.in_3d):
            model.SetDisplayVisibility(True)

    def hide(self) -> None:
        """Take it out of the views."""
        if self._are_there:
            for model in (self.in_slices, self.in_3d):
                model.SetDisplayVisibility(False)

    @property
    def _are_there(self) -> bool:
        return all(model is not None and model.GetScene() is self.scene for model in (self.in_slices, self.in_3d))

    def _new_model(self, case: str, *, in_3d: bool) -> slicer.vtkMRMLModelNode:
        model = self.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{case} region")
        nodes.mark_private(model, case, ROLE)
        model.CreateDefaultDisplayNodes()
        model.SetSelectable(False)
        display = model.GetDisplayNode()
        display.SetColor(*REGION_BOX)
        display.SetRepresentation(slicer.vtkMRMLDisplayNode.WireframeRepresentation)
        display.SetLineWidth(2)
        display.SetLighting(False)
        display.SetVisibility3D(in_3d)
        display.SetVisibility2D(not in_3d)
        display.SetSliceIntersectionThickness(2)
        return model


def _place_slice(node: slicer.vtkMRMLSliceNode, position: np.ndarray, around: np.ndarray) -> None:
    axes = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3]
    inside = around @ axes  # along the view's own axes, in mm
    low, high = inside.min(axis=0), inside.max(axis=0)
    middle = (low + high) / 2
    middle[2] = position @ axes[:, 2]  # in the slice through the position, not in that through the middle
    node.SetXYZOrigin(0, 0, 0)
    node.JumpSliceByCentering(*(axes @ middle))
    width, height, _depth = node.GetDimensions()
    wanted_width, wanted_height = np.maximum(_MARGIN * (high - low)[:2], _LEAST_MM)
    mm_per_pixel = max(wanted_width / max(width, 1), wanted_height / max(height, 1))
    node.SetFieldOfView(mm_per_pixel * width, mm_per_pixel * height, node.GetFieldOfView()[2])


def _turn_about(node: slicer.vtkMRMLViewNode, position: np.ndarray) -> None:
    camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(node)
    if camera is None:
        return
    eye = np.array(camera.GetPosition()) + position - np.array(camera.GetFocalPoint())
    camera.SetFocalPoint(*position)
    camera.SetPosition(*eye)
    camera.ResetClippingRange()


def _hull(points: np.ndarray, parts: int) -> vtk.vtkPolyData:
    """Return the faces of a box as a chessboard of `parts` by `parts` with every other square: cut, it is dashed."""
    places, squares = vtk.vtkPoints(), vtk.vtkCellArray()
    steps = np.linspace(0.0, 1.0, parts + 1)
    for face in ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)):
        origin, right, _far, up = points[list(face)]
        for i, j in ((i, j) for i in range(parts) for j in range(parts) if (i + j) % 2 == 0):
            squares.InsertNextCell(4)
            for x, y in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)):
                place = origin + steps[x] * (right - origin) + steps[y] * (up - origin)
                squares.InsertCellPoint(places.InsertNextPoint(*place))
    hull = vtk.vtkPolyData()
    hull.SetPoints(places)
    hull.SetPolys(squares)
    return hull
