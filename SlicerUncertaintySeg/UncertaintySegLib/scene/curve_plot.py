"""The risk-coverage curve as a plot in the scene: the curve, where one stands on it, and what is promised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.scene import nodes, plots
from UncertaintySegLib.scene.plots import PlotNodes

ROLE = "curve"
BLUE, GREY, ORANGE, GREEN = (0.12, 0.47, 0.71), (0.55, 0.6, 0.65), (0.9, 0.4, 0.0), (0.17, 0.55, 0.24)

_END = 100.0  # percent: nothing of either axis is beyond
_HEADROOM = 1.6  # above the curve there is room for the legend
_X, _Y, _LOW, _HIGH = "x", "y", "low", "high"
_TABLE = _("Review curve, table")


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
    views = plots.views(scene)
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
        self._nodes = PlotNodes(scene, ROLE)
        self._point: slicer.vtkMRMLTableNode | None = None

    def draw(self, chart: Chart | None, case: str) -> None:
        """Draw a chart anew in every plot view that shows the one before; None takes it away."""
        views = self._views()
        self.clear()
        if chart is None:
            return
        title = _("Review curve")
        self.node = self._nodes.chart(case, title, chart.title, chart.x_title, chart.y_title)
        self.node.SetLegendVisibility(chart.band is not None)
        highest = float(np.max(chart.y if chart.band is None else chart.band[1]))
        self.node.SetYAxisRangeAuto(False)
        self.node.SetYAxisRange(*ends(0.0, _HEADROOM * highest))
        self.node.SetXAxisRangeAuto(False)
        self.node.SetXAxisRange(*ends(float(np.min(chart.x))))
        columns = {_X: chart.x, _Y: chart.y}
        if chart.band is not None:
            columns |= {_LOW: chart.band[0], _HIGH: chart.band[1]}
        table = self._nodes.table(case, _TABLE, columns)
        if chart.band is not None:
            self._nodes.series(self.node, _("95 % interval, low"), table, (_X, _LOW), GREY, line="Dash")
            self._nodes.series(self.node, _("95 % interval, high"), table, (_X, _HIGH), GREY, line="Dash")
        self._nodes.series(self.node, _("Curve"), table, (_X, _Y), BLUE)
        if chart.promised is not None:
            promised = self._mark(case, chart.promised)
            self._nodes.series(self.node, _("Guaranteed"), promised, (_X, _Y), GREEN, marker="Diamond")
        self._point = self._mark(case, chart.point)
        self._nodes.series(self.node, _("Working point"), self._point, (_X, _Y), ORANGE, marker="Circle")
        for view in views:
            view.SetPlotChartNodeID(self.node.GetID())

    def move(self, point: tuple[float, float]) -> None:
        """Put the working point elsewhere."""
        if self._point is not None and self._point.GetScene() is self.scene:
            plots.fill(self._point, point)

    def clear(self) -> None:
        """Remove the nodes from the scene."""
        self._nodes.clear()
        self.node = self._point = None

    def _views(self) -> list[slicer.vtkMRMLPlotViewNode]:
        shown = self.node.GetID() if self.node is not None else None
        return [view for view in plots.views(self.scene) if view.GetPlotChartNodeID() in (None, "", shown)]

    def _mark(self, case: str, point: tuple[float, float]) -> slicer.vtkMRMLTableNode:
        """Return a table of one point, twice: VTK complains of lines with fewer."""
        return self._nodes.table(case, _TABLE, {_X: [point[0]] * 2, _Y: [point[1]] * 2})
