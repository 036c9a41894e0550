"""Arrangements of views: for those who edit, those who look, with and without risk, and for images and clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from UncertaintySegLib.scene import nodes, overlay, time_plot

ANNOTATOR, RADIOLOGIST, COMPARE, RADIOLOGIST_PLOT, IMAGE, CLIP = range(7301, 7307)
"""Numbers of our layouts; those of Slicer are below 1000. The radiologist's has a plot only where there is a curve."""

PLAIN_VIEW = "Plain"

_SLICE_COLORS = {
    "Red": ("R", "#F34A33"),
    "Yellow": ("Y", "#EDD54C"),
    "Green": ("G", "#6EB04B"),
    PLAIN_VIEW: ("P", "#888888"),
}
_ORIENTATIONS = {"Yellow": "Sagittal", "Green": "Coronal"}


def _slice(name: str) -> str:
    label, color = _SLICE_COLORS[name]
    properties = {"orientation": _ORIENTATIONS.get(name, "Axial"), "viewlabel": label, "viewcolor": color}
    lines = (f'<property name="{key}" action="default">{value}</property>' for key, value in properties.items())
    return f'<view class="vtkMRMLSliceNode" singletontag="{name}">{"".join(lines)}</view>'


_THREE_D = (
    '<view class="vtkMRMLViewNode" singletontag="1"><property name="viewlabel" action="default">1</property></view>'
)


def _plot(name: str) -> str:
    return (
        f'<view class="vtkMRMLPlotViewNode" singletontag="{name}">'
        '<property name="viewlabel" action="default">P</property></view>'
    )


def _split(kind: str, sizes: Sequence[int], *parts: str) -> str:
    items = (f'<item splitSize="{size}">{part}</item>' for size, part in zip(sizes, parts))
    return f'<layout type="{kind}" split="true">{"".join(items)}</layout>'


def _reading(small: str) -> str:
    """Slices as large as can be, and below the lesser ones what is to be small."""
    beside = _split("vertical", (365, 365, 270), _slice("Yellow"), _slice("Green"), small)
    return _split("horizontal", (580, 420), _slice("Red"), beside)


_DESCRIPTIONS = {
    ANNOTATOR: _split(
        "horizontal",
        (650, 350),
        _slice("Red"),
        _split("vertical", (333, 333, 334), _slice("Yellow"), _slice("Green"), _THREE_D),
    ),
    RADIOLOGIST: _reading(_THREE_D),
    RADIOLOGIST_PLOT: _reading(_split("horizontal", (400, 600), _THREE_D, _plot("PlotView1"))),
    COMPARE: _split("horizontal", (500, 500), _slice(PLAIN_VIEW), _slice("Red")),
    IMAGE: f'<layout type="horizontal"><item>{_slice("Red")}</item></layout>',
    CLIP: _split("horizontal", (600, 400), _slice("Red"), _split("vertical", (500, 500), *map(_plot, time_plot.VIEWS))),
}


class Layouts:
    """Changes the arrangement of the views, and puts back what the user had.

    Args:
        scene: Whose views.

    Attributes:
        chosen: The one of our layouts that is shown, or None while the user's own is.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.chosen: int | None = None
        self._layout_before: int | None = None
        self._links_before: dict[str, tuple[int, int]] = {}
        self._turned: dict[str, np.ndarray] = {}

    def show(self, layout: int) -> None:
        """Show one of our layouts, with linked slice views, which are turned back if they were turned."""
        self._turn_back()
        manager = slicer.app.layoutManager()
        node = manager.layoutLogic().GetLayoutNode()
        if not node.IsLayoutDescription(layout):
            node.AddLayoutDescription(layout, _DESCRIPTIONS[layout])
        if self.chosen is None:
            self._layout_before = manager.layout
            self._links_before = {
                composite.GetID(): (composite.GetLinkedControl(), composite.GetHotLinkedControl())
                for composite in overlay.slice_composites(self.scene)
            }
        self.chosen = layout
        manager.setLayout(layout)
        self._set_up_views()

    def turn_to(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Turn the slice views of the layout to the slices of a volume, the side that is usual for them in front."""
        grid = slicer.util.vtkMatrixFromArray(nodes.ijk_to_ras(volume))
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", self.scene):
            if view.IsMappedInLayout():
                if view.GetID() not in self._turned:
                    self._turned[view.GetID()] = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
                view.RotateToAxes(grid, 2)

    def restore(self) -> None:
        """Put back the layout, the links and the planes that the user had."""
        manager = slicer.app.layoutManager()
        self._turn_back()
        if self.chosen is None or manager is None:  # there is none any more while Slicer closes
            return
        self.chosen = None
        manager.setLayout(self._layout_before)
        for identifier, (linked, hot) in self._links_before.items():
            composite = self.scene.GetNodeByID(identifier)
            if composite is not None:
                composite.SetLinkedControl(linked)
                composite.SetHotLinkedControl(hot)

    def _turn_back(self) -> None:
        for identifier, before in self._turned.items():
            view = self.scene.GetNodeByID(identifier)
            if view is not None:
                view.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(before))
                view.UpdateMatrices()
        self._turned = {}

    def _set_up_views(self) -> None:
        active = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
        for composite in overlay.slice_composites(self.scene):
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
            if composite.GetLayoutName() == PLAIN_VIEW:
                overlay.keep_plain(composite, True)
            if composite.GetBackgroundVolumeID() is None:
                composite.SetBackgroundVolumeID(active)
