"""The table of structures: expected error, volume and risk of each.

The largest expected error comes first, until a heading is clicked; many structures can be filtered by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import structures as rows
from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.panel.widgets import contains
from UncertaintySegLib.server.results import Structure
from UncertaintySegLib.server.sizes import ML

_ROW_HEIGHT, _NAME_WIDTH, _LEAST_WIDTH = 22, 110, 280  # pixels; the least width is that of a table not laid out yet


class StructureTable:
    """Shows structures.

    Args:
        table: A `QTableWidget`.
        filter_edit: A `QLineEdit`: only rows with its text in their name are shown.
        clicked, double_clicked: Get the structure of a row.
    """

    def __init__(
        self, table, filter_edit, clicked: Callable[[Structure], None], double_clicked: Callable[[Structure], None]
    ) -> None:
        self._table, self._filter = table, filter_edit
        self._structures: Sequence[Structure] = ()
        self._unit = ML
        self._shown: list[Structure] = []
        self._colors: Mapping[int, tuple[float, float, float]] = {}
        self._all_columns: tuple[rows.Column, ...] = ()
        self._columns: tuple[rows.Column, ...] = ()
        self._column, self._descending = -1, False
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.verticalHeader().setToolTip(_("The number that the structure's voxels have."))
        table.setTextElideMode(qt.Qt.ElideMiddle)
        header = table.horizontalHeader()
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._sort)
        filter_edit.textChanged.connect(self._on_filter)
        table.cellClicked.connect(lambda row, _column: clicked(self._shown[row]))
        table.cellDoubleClicked.connect(lambda row, _column: double_clicked(self._shown[row]))

    def show(
        self, structures: Sequence[Structure], colors: Mapping[int, tuple[float, float, float]], unit: str = ML
    ) -> None:
        """Show structures, whose sizes are in a unit; the same ones again cost nothing."""
        if structures is self._structures and colors == self._colors and unit == self._unit:
            return
        self._structures, self._colors, self._unit = structures, colors, unit
        columns = rows.columns(structures, unit)
        if columns != self._all_columns:
            self._all_columns, self._column = columns, -1
        self._make_columns(columns)
        self._filter.setVisible(len(structures) > rows.FEW)
        self._fill()
        self._fit()

    def _fit(self) -> None:
        """Make columns brief, one after the other, until the names have room beside them."""
        for column in self._all_columns:
            numbers = sum(self._table.columnWidth(place) for place in range(1, len(self._columns)))
            if numbers + _NAME_WIDTH <= max(self._table.viewport().width, _LEAST_WIDTH):
                return
            if column.is_spare:
                brief = (column.brief if other is column else other for other in self._columns)
                self._make_columns(tuple(each for each in brief if each is not None))
                self._fill()

    def _make_columns(self, columns: tuple[rows.Column, ...]) -> None:
        if columns == self._columns:
            return
        table, self._columns = self._table, columns
        table.setColumnCount(len(self._columns))
        header = table.horizontalHeader()
        for place, column in enumerate(self._columns):
            item = qt.QTableWidgetItem(column.heading)
            item.setToolTip(column.tooltip)
            table.setHorizontalHeaderItem(place, item)
        header.setSectionResizeMode(qt.QHeaderView.Interactive)
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)

    def _sort(self, column: int) -> None:
        self._descending = column == self._column and not self._descending
        self._column = column
        header = self._table.horizontalHeader()
        header.setSortIndicatorShown(True)
        header.setSortIndicator(column, qt.Qt.DescendingOrder if self._descending else qt.Qt.AscendingOrder)
        self._fill()

    def _on_filter(self, *_arguments) -> None:
        for row, structure in enumerate(self._shown):
            self._table.setRowHidden(row, not contains(structure.name, self._filter.text))

    def _fill(self) -> None:
        if 0 <= self._column < len(self._columns):
            self._shown = rows.ordered(self._structures, self._columns[self._column], self._descending)
        else:
            self._shown = worst_first(self._structures)
        self._table.setRowCount(len(self._shown))
        for row, structure in enumerate(self._shown):
            tooltip = rows.tooltip(structure, self._unit)
            self._table.setVerticalHeaderItem(row, qt.QTableWidgetItem(str(structure.id)))
            for place, column in enumerate(self._columns):
                item = qt.QTableWidgetItem(column.text(structure))
                item.setToolTip(tooltip)
                if place:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                elif structure.id in self._colors:
                    color = (round(255 * part) for part in self._colors[structure.id])
                    item.setData(qt.Qt.DecorationRole, qt.QColor(*color))
                self._table.setItem(row, place, item)
        for place in range(1, len(self._columns)):  # once: a header that does it by itself does it at every item
            self._table.resizeColumnToContents(place)
        self._on_filter()
