"""A clip over time as plots in the scene: the area of each structure, and how unsure the model is of each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.scene import plots
from UncertaintySegLib.scene.curve_plot import BLUE, GREY, ORANGE
from UncertaintySegLib.scene.plots import PlotNodes

ROLE = "curves over time"
VIEWS = ("PlotView1", "PlotView2")
"""Names of the views: of areas, and of uncertainty."""
_HEADROOM = 1.5  # above the curves there is room for the legend
_X = "frame"


@dataclass(frozen=True)
class Chart:
    """Lines over the frames of a clip.

    Attributes:
        title, y_title: The latter with the unit.
        lines: Values, one a frame, and colour, [0, 1], by what they are of.
        dashed: Name of the line that is dashed; empty for none.
    """

    title: str
    y_title: str
    lines: Mapping[str, tuple[Sequence[float], tuple[float, float, float]]]
    dashed: str = ""

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return max(len(values) for values, _color in self.lines.values())

    @property
    def highest(self) -> float:
        """Of all values; 1 where there is nothing but 0."""
        return max((float(np.max(values)) for values, _color in self.lines.values()), default=0.0) or 1.0


@dataclass(frozen=True)
class Curves:
    """What to plot of a clip.

    Attributes:
        areas: Of each structure, one number a frame.
        colors: Of structures, [0, 1].
        unit: Of areas, as people read it.
        expected_error: Area that is expected to be wrong, one number a frame, in that unit; may be empty.
        uncertainty: Mean of a map over each frame; may be empty.
        uncertainty_title: Of that map and what is plotted of it, with its unit.
    """

    areas: Mapping[str, Sequence[float]]
    colors: Mapping[str, tuple[float, float, float]]
    unit: str
    expected_error: Sequence[float] = ()
    uncertainty: Sequence[float] = ()
    uncertainty_title: str = ""

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return max(map(len, (*self.areas.values(), self.expected_error, self.uncertainty)), default=0)

    def charts(self) -> list[Chart]:
        """Return that of the areas, then that of the uncertainty where there is one; none of a clip of one frame."""
        if self.frames < 2:
            return []
        wrong = _("expected to be wrong (all)")
        lines = {name: (values, self.colors.get(name, BLUE)) for name, values in self.areas.items()}
        if self.expected_error:
            lines[wrong] = (self.expected_error, ORANGE)
        found = [Chart(_("Area over time"), _("Area ({unit})").format(unit=self.unit), lines, wrong)]
        if self.uncertainty:
            lines = {_("uncertainty"): (self.uncertainty, ORANGE)}
            found.append(Chart(_("Uncertainty over time"), self.uncertainty_title, lines))
        return found


class TimePlot:
    """Two charts, of areas and of uncertainty, with a line at the frame that is shown.

    Args:
        scene: Where the nodes go.

    Attributes:
        charts: The charts that there are, by the name of the view that each is for.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.charts: dict[str, slicer.vtkMRMLPlotChartNode] = {}
        self._nodes = PlotNodes(scene, ROLE)
        self._lines: list[slicer.vtkMRMLPlotSeriesNode] = []

    def draw(self, curves: Curves | None, case: str, frame: int = 0) -> None:
        """Draw the curves anew; None, and a clip of one frame, has none.

        Args:
            curves: What to plot.
            case: Whose.
            frame: That is shown, from 0.
        """
        self.clear()
        for view, chart in zip(VIEWS, curves.charts() if curves is not None else ()):
            self._draw(case, view, chart)
        self.move(frame)

    def show(self) -> None:
        """Put each chart into its view, where the layout has that."""
        for view in plots.views(self.scene):
            if view.GetLayoutName() in VIEWS:
                chart = self.charts.get(view.GetLayoutName())
                view.SetPlotChartNodeID(chart.GetID() if chart is not None else None)

    def move(self, frame: int) -> None:
        """Put the lines at a frame, from 0."""
        for line in self._lines:
            if line.GetScene() is self.scene:
                plots.fill(line.GetTableNode(), [frame + 1])
                line.SetName(_("frame {number}").format(number=frame + 1))

    def clear(self) -> None:
        """Remove the nodes from the scene."""
        self._nodes.clear()
        self.charts, self._lines = {}, []

    def _draw(self, case: str, view: str, drawn: Chart) -> None:
        chart = self._nodes.chart(case, drawn.title, drawn.title, _("Frame"), drawn.y_title)
        top = _HEADROOM * drawn.highest
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(1.0, float(drawn.frames))
        chart.SetYAxisRangeAuto(False)
        chart.SetYAxisRange(0.0, top)
        chart.SetLegendVisibility(True)
        x = np.arange(1, drawn.frames + 1)
        columns = {_X: x, **{name: values for name, (values, _color) in drawn.lines.items()}}
        table = self._nodes.table(case, drawn.title, columns)
        for name, (_values, color) in drawn.lines.items():
            line = "Dash" if name == drawn.dashed else "Solid"
            self._nodes.series(chart, name, table, (_X, name), color, line=line)
        mark = self._nodes.table(case, _("Frame"), {_X: [1.0, 1.0], "y": [0.0, top]})
        self._lines.append(self._nodes.series(chart, _("Frame"), mark, (_X, "y"), GREY, line="Dot"))
        self.charts[view] = chart
