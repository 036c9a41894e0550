"""Which views a layout has and where, and the layout manager that a module asks for them.

The layout node, its logic and the descriptions of Slicer's layouts are real. `LayoutManager` stands in for
qMRMLLayoutManager, over the views of `views.py`; what the host itself needs of a layout is `Layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import slicer
import vtk

from headless_slicer.view_widgets import PlotWidget, SliceWidget, ThreeDWidget

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""


class LayoutSignal:
    """`layoutChanged`: calls back with the number of the layout."""

    def __init__(self) -> None:
        self._receivers: list[Callable[[int], None]] = []

    def connect(self, receiver: Callable[[int], None]) -> None:
        self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[[int], None]) -> None:
        self._receivers.remove(receiver)

    def emit(self, layout: int) -> None:
        for receiver in list(self._receivers):
            receiver(layout)


class LayoutManager:
    """qMRMLLayoutManager: what a module asks it for, and nothing else.

    Args:
        layout: What it speaks for.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout, self._host = layout, layout.host
        self.layoutChanged = LayoutSignal()

    def connect(self, signature: str, receiver: Callable[[int], None]) -> None:
        getattr(self, signature.partition("(")[0]).connect(receiver)

    def disconnect(self, signature: str, receiver: Callable[[int], None]) -> None:
        getattr(self, signature.partition("(")[0]).disconnect(receiver)

    def layoutLogic(self) -> slicer.vtkMRMLLayoutLogic:
        return self._layout.logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._host.scene

    def setLayout(self, layout: int) -> None:
        self._layout.logic.GetLayoutNode().SetViewArrangement(layout)

    layout = property(lambda self: self._layout.logic.GetLayoutNode().GetViewArrangement(), setLayout)

    def sliceViewNames(self) -> tuple[str, ...]:
        return self._layout.names("vtkMRMLSliceNode")

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return SliceWidget(self._host.slice_view(name)) if name in self.sliceViewNames() else None

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        names = self._layout.names("vtkMRMLViewNode")
        return ThreeDWidget(self._host.three_d_view(name=names[index])) if index < len(names) else None

    def plotWidget(self, index: int) -> PlotWidget | None:
        names = self._layout.names("vtkMRMLPlotViewNode")
        return PlotWidget(self._host.plot_view(names[index])) if index < len(names) else None

    threeDViewCount = property(lambda self: len(self._layout.names("vtkMRMLViewNode")))
    plotViewCount = property(lambda self: len(self._layout.names("vtkMRMLPlotViewNode")))
    tableViewCount = property(lambda self: 0)

    def mrmlSliceLogics(self) -> vtk.vtkCollection:
        return self._host.application_logic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for name in self.sliceViewNames():
            self._host.slice_view(name).fit()

    def resetThreeDViews(self) -> None:
        for name in self._layout.names("vtkMRMLViewNode"):
            self._host.three_d_view(name=name).fit()


class Layout:
    """Makes the views of the layout that the scene's layout node has.

    Args:
        host: Makes the views: `slice_view`, `three_d_view`, `plot_view`.
        layout: The first layout.

    Attributes:
        host: The host.
        logic: Keeps the layout node.
        manager: What modules know of it.
    """

    def __init__(self, host: object, layout: int) -> None:
        self.host = host
        self.logic = slicer.vtkMRMLLayoutLogic()
        self.logic.SetMRMLApplicationLogic(host.application_logic)
        self.logic.SetMRMLScene(host.scene)
        self._first = self._shown = layout
        self.manager = LayoutManager(self)
        self.logic.GetLayoutNode().SetViewArrangement(layout)
        self.logic.GetLayoutNode().AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_layout_modified)

    def shown(self) -> list[slicer.vtkMRMLAbstractViewNode]:
        """Return the view nodes of the layout."""
        nodes = self.logic.GetViewNodes()
        return [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]

    def names(self, class_name: str) -> tuple[str, ...]:
        """Return the names of all views of a kind that there are, shown or not."""
        return tuple(node.GetLayoutName() for node in _view_nodes(self.host.scene) if node.IsA(class_name))

    def view_of(self, node: slicer.vtkMRMLAbstractViewNode) -> object | None:
        """Return the view that shows a view node; None for kinds that the host does not draw."""
        makers = {
            "vtkMRMLSliceNode": self.host.slice_view,
            "vtkMRMLViewNode": lambda name: self.host.three_d_view(name=name),
            "vtkMRMLPlotViewNode": self.host.plot_view,
        }
        maker = makers.get(node.GetClassName())
        return maker(node.GetLayoutName()) if maker else None

    def show(self) -> None:
        """Make what the layout has, and mark its views as shown and all others as hidden."""
        shown = self.shown()
        for node in shown:
            self.view_of(node)
        for node in _view_nodes(self.host.scene):
            node.SetMappedInLayout(int(node in shown))

    def reset(self) -> None:
        """Go back to the first layout."""
        self.manager.setLayout(self._first)
        self.show()

    def rectangles(self, width: int, height: int) -> dict[slicer.vtkMRMLAbstractViewNode, Rectangle]:
        """Return where each view of the layout lies in a window of that size."""
        root = self.logic.GetLayoutNode().GetLayoutRootElement()
        return {
            self.logic.GetViewFromElement(element): rectangle
            for element, rectangle in _divide(root, (0, 0, width, height))
        }

    def _on_layout_modified(self, *_event: object) -> None:
        if self._shown != self.manager.layout:
            self._shown = self.manager.layout
            self.show()
            self.manager.layoutChanged.emit(self._shown)


def _view_nodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLAbstractViewNode]:
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if node.IsA("vtkMRMLAbstractViewNode")]


def _divide(element: vtk.vtkXMLDataElement, place: Rectangle) -> Iterator[tuple[vtk.vtkXMLDataElement, Rectangle]]:
    """Yield each view element of a layout description with its place."""
    if element.GetName() == "view":
        yield element, place
        return
    children = [element.GetNestedElement(index) for index in range(element.GetNumberOfNestedElements())]
    items = [child for child in children if child.GetName() in ("item", "view", "layout")]
    kind = element.GetAttribute("type") if element.GetName() == "layout" else None
    for item, part in zip(items, _places(kind, items, place), strict=True):
        yield from _divide(item, part)


def _places(kind: str | None, items: list[vtk.vtkXMLDataElement], place: Rectangle) -> list[Rectangle]:
    left, top, width, height = place
    if kind == "grid":
        cells = [[int(item.GetAttribute(key) or 0) for key in ("row", "column")] for item in items]
        rows, columns = (1 + max(axis) for axis in zip(*cells, strict=True))
        wide, high = width // columns, height // rows
        return [(left + column * wide, top + row * high, wide, high) for row, column in cells]
    if kind not in ("horizontal", "vertical"):
        return [place] * len(items)
    sizes = [float(item.GetAttribute("splitSize") or 500) for item in items]
    ends = [sum(sizes[:index]) / sum(sizes) for index in range(len(sizes) + 1)]
    if kind == "horizontal":
        edges = [left + round(width * end) for end in ends]
        return [(start, top, stop - start, height) for start, stop in pairwise(edges)]
    edges = [top + round(height * end) for end in ends]
    return [(left, start, width, stop - start) for start, stop in pairwise(edges)]
