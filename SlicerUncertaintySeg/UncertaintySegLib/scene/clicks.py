"""What a person said of voxels: points of Markups, and strokes, lassos and boxes drawn with the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import slicer
import vtk

from UncertaintySegLib.scene import enclosures, nodes
from UncertaintySegLib.scene.navigation import Ijk, Ras, file_to_ras

POINTS, STROKE, LASSO, BOX = "clicks", "stroke", "lasso", "box"
"""Kinds of marks, and roles of their nodes."""
DRAWN = {
    STROKE: "vtkMRMLMarkupsCurveNode",
    LASSO: "vtkMRMLMarkupsClosedCurveNode",
    BOX: "vtkMRMLMarkupsROINode",
}
"""Kinds that are drawn with the mouse, each a node of its own, and its class."""

_LABEL_ID = "UncertaintySeg.LabelId"
_DIGITS = 6
"""Of a voxel: what lies between two of them goes to the same one whatever the rounding of a processor's products."""
BACKGROUND_COLOR = (0.85, 0.85, 0.85)


class Mark(NamedTuple):
    """Points in mm (RAS), and what they say of a structure (0: of none).

    They are of it; as a stroke, all on the line through them is; as a lasso, all inside their curve; as a box between
    two corners, the structure ends there.
    """

    label_id: int
    kind: str
    points: tuple[Ras, ...]


def voxels(mark: Mark, scan: slicer.vtkMRMLScalarVolumeNode) -> list[Ijk]:
    """Return the voxels that a mark says are of its structure, IJK of the scan's file, each once: none for a box.

    Those outside the scan are left out.
    """
    ijk = file_ijk(mark, scan)
    if mark.kind == BOX:
        return []
    if mark.kind == STROKE:
        ijk = _line(ijk)
    found = enclosures.inside(ijk) if mark.kind == LASSO else np.floor(ijk + 0.5).astype(int)
    inside = ((found >= 0) & (found < scan.GetImageData().GetDimensions())).all(axis=1)
    return list(dict.fromkeys(tuple(voxel) for voxel in found[inside].tolist()))


def file_ijk(mark: Mark, scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the points of a mark as IJK of the scan's file `[n, 3]`, to so many digits as are no noise."""
    ras_to_file = np.linalg.inv(file_to_ras(scan))
    return (np.c_[np.array(mark.points), np.ones(len(mark.points))] @ ras_to_file.T)[:, :3].round(_DIGITS)


def new_voxels(before: Iterable[Mark], after: Iterable[Mark], scan: slicer.vtkMRMLScalarVolumeNode) -> list[Ijk]:
    """Return the voxels that are marked now and were not before, as `voxels` does."""
    known = {(mark.label_id, voxel) for mark in before for voxel in voxels(mark, scan)}
    return [voxel for mark in after for voxel in voxels(mark, scan) if (mark.label_id, voxel) not in known]


class ClickNodes:
    """The marks of a case as nodes: a list of points for each structure, and one for whatever is drawn.

    Args:
        scene: Where they are.
        on_changed: Called after the user placed, moved or deleted one.

    Attributes:
        axes: Along which boxes are drawn, as of `enclosures.axes`.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_changed: Callable[[], None]) -> None:
        self.scene = scene
        self._on_changed = on_changed
        self.axes = np.eye(3)
        self._known: tuple[Mark, ...] = ()
        self._quiet = False
        self._observation = scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_removed)

    def marks(self) -> tuple[Mark, ...]:
        """Return what is there, less points that are not placed yet."""
        found = [_mark(node) for role in (POINTS, *DRAWN) for node in nodes.marked(self.scene, role)]
        return tuple(mark for mark in found if mark.points)

    def keep(self, says_something: Callable[[Mark], bool]) -> str:
        """Take away what says nothing, and tell nobody; returns the kind of the last one, empty where all stay."""
        kind, self._quiet = "", True
        try:
            for node in nodes.marked(self.scene, POINTS):
                label_id = int(node.GetAttribute(_LABEL_ID))
                for index in reversed(range(node.GetNumberOfControlPoints())):
                    point = tuple(node.GetNthControlPointPositionWorld(index))
                    is_placed = node.GetNthControlPointPositionStatus(index) == node.PositionDefined
                    if is_placed and not says_something(Mark(label_id, POINTS, (point,))):
                        node.RemoveNthControlPoint(index)
                        kind = POINTS
            for role in DRAWN:
                for node in nodes.marked(self.scene, role):
                    mark = _mark(node)
                    if not (mark.points and says_something(mark)):
                        nodes.remove(self.scene, node)
                        kind = role
        finally:
            self._quiet = False
        return kind

    def put(self, case: str, marks: Iterable[Mark], colors: dict[int, tuple[float, float, float]]) -> None:
        """Make these the marks of a case, in place of those before."""
        self._quiet = True
        try:
            for role in DRAWN:
                for node in nodes.marked(self.scene, role):
                    nodes.remove(self.scene, node)
            for node in nodes.marked(self.scene, POINTS):
                node.RemoveAllControlPoints()
            for mark in marks:
                given = case, mark.label_id, colors
                node = self.points(*given) if mark.kind == POINTS else self.draw(mark.kind, *given)
                for point in mark.points:
                    self.add_point(node, point)
        finally:
            self._quiet = False
        self._known = self.marks()

    def points(
        self, case: str, label_id: int, colors: dict[int, tuple[float, float, float]]
    ) -> slicer.vtkMRMLMarkupsFiducialNode:
        """Return the list of points of a structure, made when there is none."""
        for node in nodes.marked(self.scene, POINTS):
            if node.GetAttribute(_LABEL_ID) == str(label_id):
                return node
        node = self._new("vtkMRMLMarkupsFiducialNode", case, POINTS, label_id, colors)
        for event in (node.PointPositionDefinedEvent, node.PointEndInteractionEvent, node.PointRemovedEvent):
            node.AddObserver(event, self._on_event)
        return node

    def draw(
        self, kind: str, case: str, label_id: int, colors: dict[int, tuple[float, float, float]]
    ) -> slicer.vtkMRMLMarkupsNode:
        """Return a new stroke, lasso or box without points; call `finish` after adding them."""
        node = self._new(DRAWN[kind], case, kind, label_id, colors)
        if kind == BOX:
            node.AddObserver(node.PointEndInteractionEvent, self._on_event)  # its faces can be dragged
        else:
            node.SetCurveTypeToLinear()
            node.SetLocked(True)  # the mouse draws the next one over it
        return node

    def add_point(self, node: slicer.vtkMRMLMarkupsNode, position: Ras) -> None:
        """Add a point to a list, a stroke or a lasso, or draw a box from its first point to this one."""
        if node.GetAttribute(nodes.ROLE) == BOX:
            enclosures.draw_box(node, position, self.axes)
        else:
            node.AddControlPoint(vtk.vtkVector3d(*position))

    def finish(self) -> None:
        """Tell of what has changed since the user, or `put`, changed something last."""
        marks = self.marks()
        if marks != self._known:
            self._known = marks
            self._on_changed()

    def close(self) -> None:
        """Watch no more."""
        self.scene.RemoveObserver(self._observation)

    def forget(self) -> None:
        """The nodes go with their case: tell nobody."""
        self._known = ()

    def _new(
        self, class_name: str, case: str, role: str, label_id: int, colors: dict[int, tuple[float, float, float]]
    ) -> slicer.vtkMRMLMarkupsNode:
        node = self.scene.AddNewNodeByClass(class_name, f"{case} {role}")
        nodes.mark(node, case, role)
        node.SetAttribute(_LABEL_ID, str(label_id))
        node.SetSaveWithScene(False)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        color = colors.get(label_id, BACKGROUND_COLOR)
        display.SetColor(*color)
        display.SetSelectedColor(*color)
        display.SetActiveColor(1.0, 1.0, 1.0)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        if role in (STROKE, LASSO):
            display.SetGlyphScale(0.5)
            display.SetLineThickness(1.0)
        if role == BOX:
            display.SetFillOpacity(0.1)
            display.SetHandlesInteractive(True)
        return node

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removed(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if node.IsA("vtkMRMLMarkupsNode"):  # a case goes with dozens of nodes, and each look is through the whole scene
            self._on_event()

    def _on_event(self, *_event: object) -> None:
        if not (self._quiet or self.scene.IsClosing() or self.scene.IsBatchProcessing()):
            self.finish()


class PlaceMode:
    """Each click in a view places a point, until the user leaves the mode.

    Args:
        on_changed: Called after the mode of the views has changed.
    """

    def __init__(self, on_changed: Callable[[], None]) -> None:
        logic = slicer.app.applicationLogic()
        self._selection, self._interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        event = self._interaction.InteractionModeChangedEvent
        self._observation = self._interaction.AddObserver(event, lambda *_event: on_changed())

    @property
    def is_on(self) -> bool:
        """Whether the views are in this mode."""
        return self._interaction.GetCurrentInteractionMode() == self._interaction.Place

    def close(self) -> None:
        """Watch no more."""
        self._interaction.RemoveObserver(self._observation)

    def start(self, points: slicer.vtkMRMLMarkupsFiducialNode) -> None:
        """Let clicks add to a list of points."""
        self._selection.SetReferenceActivePlaceNodeClassName(points.GetClassName())
        self._selection.SetActivePlaceNodeID(points.GetID())
        self._interaction.SetPlaceModePersistence(True)
        self._interaction.SetCurrentInteractionMode(self._interaction.Place)

    def stop(self) -> None:
        """Give the mouse back."""
        if self.is_on:
            self._interaction.SetPlaceModePersistence(False)
            self._interaction.SwitchToViewTransformMode()


def _mark(node: slicer.vtkMRMLMarkupsNode) -> Mark:
    """Return what a node says, without points where nothing is placed or drawn yet."""
    role = node.GetAttribute(nodes.ROLE)
    return Mark(int(node.GetAttribute(_LABEL_ID)), role, enclosures.corners(node) if role == BOX else placed(node))


def placed(node: slicer.vtkMRMLMarkupsNode) -> tuple[Ras, ...]:
    """Return the points of a list in mm (RAS), less one that is not placed yet."""
    places = [
        index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]
    return tuple(tuple(node.GetNthControlPointPositionWorld(index)) for index in places)


def _line(ijk: np.ndarray) -> np.ndarray:
    """Return points on the line through `ijk`, so close that no voxel on it is stepped over."""
    parts = [ijk[:1]]
    for start, stop in ((ijk[index - 1], ijk[index]) for index in range(1, len(ijk))):
        steps = max(int(np.ceil(2 * np.abs(stop - start).max())), 1)
        parts.append(start + (stop - start) * np.linspace(0, 1, steps + 1)[1:, None])
    return np.concatenate(parts).round(_DIGITS)
