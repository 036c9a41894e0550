"""A chart over the frames of a clip as a small picture, for the report."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.panel.plot_picture import PlotPicture
from UncertaintySegLib.panel.widgets import painted
from UncertaintySegLib.scene.time_plot import Chart

_HEADROOM = 1.05


def draw(chart: Chart, width: int, height: int, *, ink: qt.QColor, paper: qt.QColor, ratio: float = 1.0) -> qt.QPixmap:
    """Return the chart with its axes; whose each line is, is said beside it.

    Args:
        chart: What to draw, of two frames or more.
        width: Of the picture.
        height: Of the picture.
        ink: Colour of axes and text.
        paper: Colour behind them.
        ratio: Pixels of the screen for one of `width`.
    """
    ranges = (1.0, float(chart.frames)), (0.0, _HEADROOM * chart.highest)

    def draw_on(painter: qt.QPainter) -> None:
        painter.setRenderHint(qt.QPainter.Antialiasing)
        plot = PlotPicture(painter, (width, height), ink, ranges, (_("Frame"), chart.y_title))
        plot.axes()
        for name, (values, color) in chart.lines.items():
            plot.line(range(1, len(values) + 1), values, color, 1.6, dashed=name == chart.dashed)

    return painted(width, height, paper, ratio, draw_on)
