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
    _keep_rows_whole(document, height)
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


def _keep_rows_whole(document: qt.QTextDocument, height: int) -> None:
    """Move the rows that a page's end would cut to the next page; Qt does so only where all cells begin there.

    Args:
        document: Laid out on pages.
        height: Of a page, in its pixels.
    """
    layout = document.documentLayout()
    for frame in document.rootFrame().childFrames():
        table = frame.firstCursorPosition().currentTable()
        for row in range(1, table.rows() if table is not None else 0):  # a picture is a frame as well
            cells = [table.cellAt(row, column) for column in range(table.columns())]
            places = [layout.blockBoundingRect(cell.firstCursorPosition().block()) for cell in cells]
            top, bottom = min(place.top() for place in places), max(place.bottom() for place in places)
            room = height - top % height
            if top + room < bottom:
                _widen(table, row - 1, room)
                document.markContentsDirty(0, document.characterCount())  # what follows would stay where it was


def _widen(table: qt.QTextTable, row: int, pixels: float) -> None:
    """Leave room below a row."""
    for column in range(table.columns()):
        cell = table.cellAt(row, column)
        form = cell.format().toTableCellFormat()
        form.setBottomPadding(form.bottomPadding() + pixels)
        cell.setFormat(form)
