"""Axes and lines of a small picture of curves, in the panel's colours or on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import qt

Color = tuple[float, float, float]
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 24, 40
"""Around the axes, pixels."""


class PlotPicture:
    """Draws on a painter.

    Args:
        painter: Of the picture.
        size: Width and height of it, pixels.
        ink: Colour of axes and text.
        ranges: Both ends of the x axis, and of the y axis.
        titles: Of both.
    """

    def __init__(
        self,
        painter: qt.QPainter,
        size: tuple[int, int],
        ink: qt.QColor,
        ranges: tuple[tuple[float, float], tuple[float, float]],
        titles: tuple[str, str],
    ) -> None:
        self.painter, self.ink = painter, ink
        self.left, self.right, self.top, self.bottom = LEFT, size[0] - RIGHT, TOP, size[1] - BOTTOM
        self.x_range, self.y_range = ranges
        self.x_title, self.y_title = titles

    def axes(self) -> None:
        """Draw the grid with its numbers, and the titles."""
        painter, metrics = self.painter, self.painter.fontMetrics()
        faint = qt.QColor(self.ink)
        faint.setAlphaF(0.18)
        for value in _ticks(*self.x_range, 4):
            x = self.x(value)
            self.pen(faint, 1.0)
            painter.drawLine(qt.QPointF(x, self.top), qt.QPointF(x, self.bottom))
            text = _number(value, self.x_range)
            width = text_width(metrics, text)
            self.text(min(x - width / 2, self.right + RIGHT - width), self.bottom + metrics.ascent() + 4, text)
        for value in _ticks(*self.y_range, 5):
            y = self.y(value)
            self.pen(faint, 1.0)
            painter.drawLine(qt.QPointF(self.left, y), qt.QPointF(self.right, y))
            text = _number(value, self.y_range)
            self.text(self.left - 5 - text_width(metrics, text), y + metrics.ascent() / 2 - 1, text)
        self.text(4, metrics.ascent() + 2, self.y_title)
        across = self.right - text_width(metrics, self.x_title)
        self.text(across, self.bottom + 2 * metrics.height() + 2, self.x_title)

    def line(self, x: Sequence[float], y: Sequence[float], color: Color, width: float, *, dashed: bool = False) -> None:
        """Draw a curve."""
        path = qt.QPainterPath()
        for index, (across, up) in enumerate(zip(x, y)):
            (path.lineTo if index else path.moveTo)(self.x(across), self.y(up))
        self.pen(colour(color), width, dashed=dashed)
        self.painter.drawPath(path)

    def text(self, x: float, y: float, text: str) -> None:
        """Write in ink, from a pixel on."""
        self.pen(self.ink, 1.0)
        self.painter.drawText(qt.QPointF(x, y), text)

    def pen(self, color: qt.QColor, width: float, *, dashed: bool = False) -> None:
        """Take a pen."""
        pen = qt.QPen(color)
        pen.setWidthF(width)
        if dashed:
            pen.setStyle(qt.Qt.DashLine)
        self.painter.setPen(pen)

    def x(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def text_width(metrics: qt.QFontMetrics, text: str) -> float:
    """Return how wide a text is, pixels."""
    return metrics.boundingRect(text).width()  # `horizontalAdvance` is not sure to be in the PythonQt of Slicer 5.8


def colour(parts: Color) -> qt.QColor:
    """Return a colour of which each part is 0 to 1."""
    return qt.QColor(*(round(255 * part) for part in parts))


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
