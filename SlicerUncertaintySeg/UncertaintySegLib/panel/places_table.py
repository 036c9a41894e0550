"""Places where labels differ: a click looks at one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.server.label_replies import Place
from UncertaintySegLib.server.sizes import ML

_ROW_HEIGHT, _ROWS = 22, 6  # pixels; how many are seen at once


class PlacesTable:
    """Lists places by size.

    Args:
        table: A `QTableWidget`.
        kinds: What to call "border", "missed" and "extra".
        go_to: Gets the place that was clicked.
    """

    def __init__(self, table, kinds: Mapping[str, str], go_to: Callable[[Place], None]) -> None:
        self._table, self._kinds = table, kinds
        self._places: Sequence[Place] | None = None
        headings = {
            _("Structure"): _("Which structure it belongs to."),
            _("Where"): _("What differs there."),
            sizes.shown(ML): _("Size of the place."),
        }
        table.setColumnCount(len(headings))
        for column, (heading, tooltip) in enumerate(headings.items()):
            item = qt.QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            table.setHorizontalHeaderItem(column, item)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.setTextElideMode(qt.Qt.ElideMiddle)
        table.cellClicked.connect(lambda row, _column: go_to(self._places[row]))

    def show(self, places: Sequence[Place], unit: str = ML) -> None:
        """Show places, whose sizes are in a unit; none hides the table, the same ones again cost nothing."""
        if places is self._places:
            return
        self._places = places
        self._table.horizontalHeaderItem(2).setText(sizes.shown(unit))
        self._table.setRowCount(len(places))
        for row, place in enumerate(places):
            texts = (place.structure, self._kinds.get(place.kind, place.kind), f"{place.volume_ml:.2f}")
            for column, text in enumerate(texts):
                cell = qt.QTableWidgetItem(text)
                cell.setToolTip(text)
                if column == 2:
                    cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                self._table.setItem(row, column, cell)
        self._table.setFixedHeight(self._table.horizontalHeader().height + _ROW_HEIGHT * min(len(places), _ROWS) + 4)
        self._table.setVisible(bool(places))
