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
        if curves is None or curves.frames < 2:
            return
        x = np.arange(1, curves.frames + 1)
        wrong = _("expected to be wrong (all)")
        areas = {name: (values, curves.colors.get(name, BLUE)) for name, values in curves.areas.items()}
        if curves.expected_error:
            areas[wrong] = (curves.expected_error, ORANGE)
        title, y_title = _("Area over time"), _("Area ({unit})").format(unit=curves.unit)
        self._draw(case, VIEWS[0], x, areas, (title, y_title), dashed=wrong)
        if curves.uncertainty:
            titles = (_("Uncertainty over time"), curves.uncertainty_title)
            self._draw(case, VIEWS[1], x, {_("uncertainty"): (curves.uncertainty, ORANGE)}, titles)
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

    def _draw(
        self,
        case: str,
        view: str,
        x: np.ndarray,
        curves: Mapping[str, tuple[Sequence[float], tuple[float, float, float]]],
        titles: tuple[str, str],
        dashed: str = "",
    ) -> None:
        chart = self._nodes.chart(case, titles[0], titles[0], _("Frame"), titles[1])
        highest = max((float(np.max(values)) for values, _color in curves.values()), default=0.0) or 1.0
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(1.0, float(len(x)))
        chart.SetYAxisRangeAuto(False)
        chart.SetYAxisRange(0.0, _HEADROOM * highest)
        chart.SetLegendVisibility(True)
        columns = {_X: x, **{name: values for name, (values, _color) in curves.items()}}
        table = self._nodes.table(case, titles[0], columns)
        for name, (_values, color) in curves.items():
            line = "Dash" if name == dashed else "Solid"
            self._nodes.series(chart, name, table, (_X, name), color, line=line)
        mark = self._nodes.table(case, _("Frame"), {_X: [1.0, 1.0], "y": [0.0, _HEADROOM * highest]})
        self._lines.append(self._nodes.series(chart, _("Frame"), mark, (_X, "y"), GREY, line="Dot"))
        self.charts[view] = chart
