"""The review curve as a small picture, for the panel and the report."""

from __future__ import annotations

import math

import numpy as np
import qt

from UncertaintySegLib.panel.widgets import painted
from UncertaintySegLib.scene.curve_plot import BLUE, GREEN, GREY, ORANGE, Chart, ends

Color = tuple[float, float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 24, 40


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

    def draw_on(painter: qt.QPainter) -> None:
        painter.setRenderHint(qt.QPainter.Antialiasing)
        _Drawing(painter, chart, width, height, ink).draw()

    return painted(width, height, paper, ratio, draw_on)


class _Drawing:
    def __init__(self, painter: qt.QPainter, chart: Chart, width: int, height: int, ink: qt.QColor) -> None:
        self.painter, self.chart, self.ink = painter, chart, ink
        self.left, self.right, self.top, self.bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM
        highest = max(float(np.max(chart.y)), float(np.max(chart.band[1])) if chart.band is not None else 0.0)
        self.x_range = ends(float(np.min(chart.x)))
        self.y_range = ends(0.0, 1.05 * highest)

    def draw(self) -> None:
        self._axes()
        if self.chart.band is not None:
            low, high = self.chart.band
            for values in (low, high):
                self._line(values, GREY, 1.2, dashed=True)
        self._line(self.chart.y, BLUE, 2.0)
        if self.chart.promised is not None:
            self._mark(self.chart.promised, GREEN, diamond=True)
        self._mark(self.chart.point, ORANGE)

    def _axes(self) -> None:
        painter, metrics = self.painter, self.painter.fontMetrics()
        faint = qt.QColor(self.ink)
        faint.setAlphaF(0.18)
        for value in _ticks(*self.x_range, 4):
            x = self._x(value)
            self._pen(faint, 1.0)
            painter.drawLine(qt.QPointF(x, self.top), qt.QPointF(x, self.bottom))
            text = _number(value, self.x_range)
            width = _width(metrics, text)
            self._text(min(x - width / 2, self.right + _RIGHT - width), self.bottom + metrics.ascent() + 4, text)
        for value in _ticks(*self.y_range, 5):
            y = self._y(value)
            self._pen(faint, 1.0)
            painter.drawLine(qt.QPointF(self.left, y), qt.QPointF(self.right, y))
            text = _number(value, self.y_range)
            self._text(self.left - 5 - _width(metrics, text), y + metrics.ascent() / 2 - 1, text)
        self._text(4, metrics.ascent() + 2, self.chart.y_title)
        x_title = self.chart.x_title
        self._text(self.right - _width(metrics, x_title), self.bottom + 2 * metrics.height() + 2, x_title)

    def _line(
        self, values: np.ndarray, color: tuple[float, float, float], width: float, *, dashed: bool = False
    ) -> None:
        path = qt.QPainterPath()
        for index, (x, y) in enumerate(zip(self.chart.x.tolist(), values.tolist())):
            (path.lineTo if index else path.moveTo)(self._x(x), self._y(y))
        self._pen(_color(color), width, dashed=dashed)
        self.painter.drawPath(path)

    def _mark(self, point: tuple[float, float], color: Color, *, diamond: bool = False) -> None:
        x, y, size = self._x(point[0]), self._y(point[1]), 5.0
        path = qt.QPainterPath()
        if diamond:
            path.moveTo(x, y - 1.3 * size)
            for right, down in ((1.3, 0), (0, 1.3), (-1.3, 0), (0, -1.3)):
                path.lineTo(x + right * size, y + down * size)
        else:
            path.addEllipse(x - size, y - size, 2 * size, 2 * size)
        self.painter.fillPath(path, qt.QBrush(_color(color)))
        self._pen(self.ink, 1.0)
        self.painter.drawPath(path)

    def _text(self, x: float, y: float, text: str) -> None:
        self._pen(self.ink, 1.0)
        self.painter.drawText(qt.QPointF(x, y), text)

    def _pen(self, color: qt.QColor, width: float, *, dashed: bool = False) -> None:
        pen = qt.QPen(color)
        pen.setWidthF(width)
        if dashed:
            pen.setStyle(qt.Qt.DashLine)
        self.painter.setPen(pen)

    def _x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def _y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers between two."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _number(value: float, ends: tuple[float, float]) -> str:
    """Return a number with as many decimals as tell neighbours apart."""
    decimals = max(0, 1 - math.floor(math.log10((ends[1] - ends[0]) / 2)))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"


def _width(metrics: qt.QFontMetrics, text: str) -> float:
    return metrics.boundingRect(text).width()  # `horizontalAdvance` is not sure to be in the PythonQt of Slicer 5.8


def _color(parts: Color) -> qt.QColor:
    return qt.QColor(*(round(255 * part) for part in parts))
