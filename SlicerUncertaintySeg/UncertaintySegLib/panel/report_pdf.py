"""A page of HTML as PDF, by Qt's own text engine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import qt

_DOTS_PER_INCH = 96  # so that a pixel of the page is what it is in a browser
_MARGIN_MM = 12.0


def write(html: str, path: Path) -> bool:
    """Write a page as A4; the file appears only when it is whole.

    Args:
        html: The page.
        path: The PDF; its folder is there.

    Returns:
        False where this Slicer's Qt cannot write PDF.
    """
    if not hasattr(qt, "QPdfWriter"):
        return False
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        _draw(html, draft)
        os.replace(draft, path)
    return True


def _draw(html: str, path: Path) -> None:
    device = qt.QPdfWriter(str(path))
    device.setResolution(_DOTS_PER_INCH)
    margins = qt.QMarginsF(_MARGIN_MM, _MARGIN_MM, _MARGIN_MM, _MARGIN_MM)
    size = qt.QPageSize(qt.QPageSize.A4)
    device.setPageLayout(qt.QPageLayout(size, qt.QPageLayout.Portrait, margins, qt.QPageLayout.Millimeter))
    document = qt.QTextDocument()
    document.documentLayout().setPaintDevice(device)
    document.setDocumentMargin(0)
    document.setHtml(html)
    width, height = device.width(), device.height()
    document.setPageSize(qt.QSizeF(width, height))
    painter = qt.QPainter(device)
    try:
        for page in range(document.pageCount()):
            if page:
                device.newPage()
            painter.save()
            painter.translate(0, -page * height)
            document.drawContents(painter, qt.QRectF(0, page * height, width, height))
            painter.restore()
    finally:
        painter.end()
