"""What the colours of a map mean, as a strip for the panel and the report: in the views it would cover the scan."""

from __future__ import annotations

import qt

from UncertaintySegLib.panel.widgets import painted
from UncertaintySegLib.scene.colors import heat_scale

HEIGHT = 40
_STRIP, _EDGE, _STEPS, _TICKS = 14, 14, 128, 5


def draw(
    low: float,
    high: float,
    scale: str,
    width: int,
    *,
    ink: qt.QColor,
    paper: qt.QColor,
    ratio: float = 1.0,
) -> qt.QPixmap:
    """Return the strip from 0 to `high`; below `low`, where the map is invisible, it is only framed.

    Args:
        low: The threshold.
        high: The top of the scale, above 0.
        scale: One of `colors.SCALES`.
        width: Of the picture; it is `HEIGHT` high.
        ink: Colour of texts and frame.
        paper: Colour behind them.
        ratio: Pixels of the screen for one of `width`.
    """
    return painted(
        width, HEIGHT, paper, ratio, lambda painter: _draw(painter, low / high, high, scale, width - 2 * _EDGE, ink)
    )


def _draw(painter: qt.QPainter, hidden: float, high: float, scale: str, length: int, ink: qt.QColor) -> None:
    part = length / _STEPS
    for step, color in enumerate(heat_scale(_STEPS, scale)):
        if (step + 1) / _STEPS > hidden:
            brush = qt.QBrush(qt.QColor(*(round(255 * value) for value in color)))
            painter.fillRect(qt.QRectF(_EDGE + step * part, 2, part + 1, _STRIP), brush)
    painter.setPen(qt.QPen(ink))
    painter.drawRect(qt.QRectF(_EDGE, 2, length, _STRIP))
    metrics = painter.fontMetrics()
    for tick in range(_TICKS + 1):
        x, text = _EDGE + length * tick / _TICKS, f"{high * tick / _TICKS:.2g}"
        painter.drawLine(qt.QPointF(x, 2 + _STRIP), qt.QPointF(x, 5 + _STRIP))
        left = x - metrics.boundingRect(text).width() / 2
        painter.drawText(qt.QPointF(max(0.0, left), 6 + _STRIP + metrics.ascent()), text)
