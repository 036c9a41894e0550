"""The risk-coverage curve as a plot in the scene: the curve, where one stands on it, and what is promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from UncertaintySegLib.scene import nodes

ROLE = "curve"
BLUE, GREY, ORANGE, GREEN = (0.12, 0.47, 0.71), (0.55, 0.6, 0.65), (0.9, 0.4, 0.0), (0.17, 0.55, 0.24)

_END = 100.0  # percent: nothing of either axis is beyond
_HEADROOM = 1.6  # above the curve there is room for the legend
_FONTS = {"Title": 13, "AxisTitle": 11, "AxisLabel": 10, "Legend": 9}  # points: in the radiologist's layout it is small
_X, _Y, _LOW, _HIGH = "x", "y", "low", "high"


@dataclass(frozen=True)
class Chart:
    """What to plot.

    Attributes:
        title, x_title, y_title: With units, both percent.
        x, y: The curve, `[N]`.
        point: The working point.
        band: Lower and upper end of the 95 % interval of y, `[N]` each, or None.
        promised: The highest point with a guarantee, or None.
    """

    title: str
    x_title: str
    y_title: str
    x: np.ndarray
    y: np.ndarray
    point: tuple[float, float]
    band: tuple[np.ndarray, np.ndarray] | None = None
    promised: tuple[float, float] | None = None


def ends(low: float, high: float = _END) -> tuple[float, float]:
    """Return from where to where an axis in percent goes: never beyond 100 %, and never nowhere."""
    high = min(high, _END)
    least = max(1e-6, 1e-6 * abs(high))
    return (low, high) if high - low >= least else (max(high, least) - least, max(high, least))


def show(scene: slicer.vtkMRMLScene) -> bool:
    """Put the curve, if there is one, into every plot view; returns whether it is on the screen."""
    charts = [node for node in nodes.marked(scene, ROLE) if node.IsA("vtkMRMLPlotChartNode")]
    if not charts:
        return False
    slicer.app.applicationLogic().GetSelectionNode().SetActivePlotChartID(charts[0].GetID())
    views = _plot_views(scene)
    for view in views:
        view.SetPlotChartNodeID(charts[0].GetID())
    return any(view.IsMappedInLayout() for view in views)


class CurvePlot:
    """A chart node with its series and tables.

    Args:
        scene: Where the nodes go.

    Attributes:
        node: The chart node, or None.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.node: slicer.vtkMRMLPlotChartNode | None = None
        self._point: slicer.vtkMRMLTableNode | None = None

    def draw(self, chart: Chart | None, case: str) -> None:
        """Draw a chart anew in every plot view that shows the one before; None takes it away."""
        views = self._views()
        self.clear()
        if chart is None:
            return
        self.node = self._add("vtkMRMLPlotChartNode", case, _("Review curve"))
        self.node.SetTitle(chart.title)
        self.node.SetXAxisTitle(chart.x_title)
        self.node.SetYAxisTitle(chart.y_title)
        self.node.SetLegendVisibility(chart.band is not None)
        for what, points in _FONTS.items():
            getattr(self.node, f"Set{what}FontSize")(points)
        highest = float(np.max(chart.y if chart.band is None else chart.band[1]))
        self.node.SetYAxisRangeAuto(False)
        self.node.SetYAxisRange(*ends(0.0, _HEADROOM * highest))
        self.node.SetXAxisRangeAuto(False)
        self.node.SetXAxisRange(*ends(float(np.min(chart.x))))
        columns = {_X: chart.x, _Y: chart.y}
        if chart.band is not None:
            columns |= {_LOW: chart.band[0], _HIGH: chart.band[1]}
        table = self._table(case, columns)
        if chart.band is not None:
            self._series(case, _("95 % interval, low"), table, _LOW, GREY, line="Dash")
            self._series(case, _("95 % interval, high"), table, _HIGH, GREY, line="Dash")
        self._series(case, _("Curve"), table, _Y, BLUE)
        if chart.promised is not None:
            self._series(case, _("Guaranteed"), self._mark(case, chart.promised), _Y, GREEN, marker="Diamond")
        self._point = self._mark(case, chart.point)
        self._series(case, _("Working point"), self._point, _Y, ORANGE, marker="Circle")
        for view in views:
            view.SetPlotChartNodeID(self.node.GetID())

    def move(self, point: tuple[float, float]) -> None:
        """Put the working point elsewhere."""
        if self._point is None or self._point.GetScene() is not self.scene:
            return
        table = self._point.GetTable()
        for column, value in enumerate(point):
            table.GetColumn(column).Fill(value)
            table.GetColumn(column).Modified()
        table.Modified()
        self._point.Modified()

    def clear(self) -> None:
        """Remove the nodes from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.node = self._point = None

    def _views(self) -> list[slicer.vtkMRMLPlotViewNode]:
        shown = self.node.GetID() if self.node is not None else None
        return [view for view in _plot_views(self.scene) if view.GetPlotChartNodeID() in (None, "", shown)]

    def _add(self, class_name: str, case: str, name: str) -> slicer.vtkMRMLNode:
        node = self.scene.AddNewNodeByClass(class_name, name)
        nodes.mark(node, case, ROLE)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        return node

    def _table(self, case: str, columns: Mapping[str, Sequence[float]]) -> slicer.vtkMRMLTableNode:
        node = self._add("vtkMRMLTableNode", case, _("Review curve, table"))
        table = vtk.vtkTable()
        for name, values in columns.items():
            column = vtk.vtkDoubleArray()
            column.SetName(name)
            for value in values:
                column.InsertNextValue(float(value))
            table.AddColumn(column)
        node.SetAndObserveTable(table)
        return node

    def _mark(self, case: str, point: tuple[float, float]) -> slicer.vtkMRMLTableNode:
        """Return a table of one point, twice: VTK complains of lines with fewer."""
        return self._table(case, {_X: [point[0]] * 2, _Y: [point[1]] * 2})

    def _series(
        self,
        case: str,
        name: str,
        table: slicer.vtkMRMLTableNode,
        column: str,
        color: tuple[float, float, float],
        *,
        line: str = "Solid",
        marker: str = "None",
    ) -> None:
        series = self._add("vtkMRMLPlotSeriesNode", case, name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(_X)
        series.SetYColumnName(column)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetLineStyle(getattr(series, f"LineStyle{line if marker == 'None' else 'None'}"))
        series.SetMarkerStyle(getattr(series, f"MarkerStyle{marker}"))
        series.SetMarkerSize(13)
        series.SetLineWidth(2)
        series.SetColor(*color)
        self.node.AddAndObservePlotSeriesNodeID(series.GetID())


def _plot_views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLPlotViewNode]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLPlotViewNode") for index in range(count)]
