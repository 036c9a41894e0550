"""The review curve as a small picture, for the panel and the report."""

from __future__ import annotations

import numpy as np
import qt

from UncertaintySegLib.panel.plot_picture import Color, PlotPicture, colour
from UncertaintySegLib.panel.widgets import painted
from UncertaintySegLib.scene.curve_plot import BLUE, GREEN, GREY, ORANGE, Chart, ends


def draw(chart: Chart, width: int, height: int, *, ink: qt.QColor, paper: qt.QColor, ratio: float = 1.0) -> qt.QPixmap:
    """Return the chart with its axes, interval, working point and promise.

    Args:
        chart: What to draw.
        width: Of the picture.
        height: Of the picture.
        ink: Colour of axes and text.
        paper: Colour behind them.
        ratio: Pixels of the screen for one of `width`.
    """
    highest = max(float(np.max(chart.y)), float(np.max(chart.band[1])) if chart.band is not None else 0.0)
    ranges = ends(float(np.min(chart.x))), ends(0.0, 1.05 * highest)

    def draw_on(painter: qt.QPainter) -> None:
        painter.setRenderHint(qt.QPainter.Antialiasing)
        plot = PlotPicture(painter, (width, height), ink, ranges, (chart.x_title, chart.y_title))
        plot.axes()
        x = chart.x.tolist()
        for values in chart.band if chart.band is not None else ():
            plot.line(x, values.tolist(), GREY, 1.2, dashed=True)
        plot.line(x, chart.y.tolist(), BLUE, 2.0)
        if chart.promised is not None:
            _mark(plot, chart.promised, GREEN, diamond=True)
        _mark(plot, chart.point, ORANGE)

    return painted(width, height, paper, ratio, draw_on)


def _mark(plot: PlotPicture, point: tuple[float, float], color: Color, *, diamond: bool = False) -> None:
    x, y, size = plot.x(point[0]), plot.y(point[1]), 5.0
    path = qt.QPainterPath()
    if diamond:
        path.moveTo(x, y - 1.3 * size)
        for right, down in ((1.3, 0), (0, 1.3), (-1.3, 0), (0, -1.3)):
            path.lineTo(x + right * size, y + down * size)
    else:
        path.addEllipse(x - size, y - size, 2 * size, 2 * size)
    plot.painter.fillPath(path, qt.QBrush(colour(color)))
    plot.pen(plot.ink, 1.0)
    plot.painter.drawPath(path)
