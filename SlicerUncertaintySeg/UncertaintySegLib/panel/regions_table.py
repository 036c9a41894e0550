"""The list of regions: rank, structure, kind, volume, expected error, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic.regions import OPEN, Item
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.panel import text_colors

_ROW_HEIGHT, _ROWS = 22, 9  # pixels; how many are seen at once


class RegionsTable:
    """Shows regions.

    Args:
        table: A `QTableWidget`.
        states: What to call each state.
        select: Gets the row that was clicked.
    """

    def __init__(self, table, states: Mapping[str, str], select: Callable[[int], None]) -> None:
        self._table, self._states = table, states
        self._kinds = {"border": _("border"), "missed": _("missed"), "extra": _("extra")}
        self._shown: tuple = ()
        headings = {
            "#": _("Rank: 1 is where most is expected to be wrong."),
            _("Structure"): _("Which structure it belongs to."),
            _("Kind"): _("Border: where its surface runs. Missed: labelled too little. Extra: labelled too much."),
            _("mL"): _("Volume of the region."),
            _("Wrong, mL"): _("How much of it is expected to be wrong, as the server says."),
            _("State"): _("What became of it."),
        }
        table.setColumnCount(len(headings))
        header = table.horizontalHeader()
        for column, (heading, tooltip) in enumerate(headings.items()):
            item = qt.QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            table.setHorizontalHeaderItem(column, item)
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if column == 1 else qt.QHeaderView.Interactive)
        header.setMinimumSectionSize(24)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.setTextElideMode(qt.Qt.ElideMiddle)
        table.cellClicked.connect(lambda row, _column: select(row))

    def show(
        self, items: Sequence[Item], current: int | None, colors: Mapping[str, tuple[float, float, float]]
    ) -> None:
        """Show regions; the same ones again cost nothing."""
        shown = (tuple(items), tuple(colors.items()))
        if shown != self._shown:
            self._shown = shown
            self._table.setRowCount(len(items))
            height = self._table.horizontalHeader().height + _ROW_HEIGHT * min(len(items), _ROWS) + 4
            self._table.setFixedHeight(height)
            for row, item in enumerate(items):
                self._fill(row, item, colors)
            for column in (0, 2, 3, 4, 5):  # once: a header that does it by itself does it at every cell
                self._table.resizeColumnToContents(column)
        if current is None:
            self._table.clearSelection()
        elif self._table.currentRow() != current or not self._table.selectedItems():
            self._table.selectRow(current)

    def _fill(self, row: int, item: Item, colors: Mapping[str, tuple[float, float, float]]) -> None:
        region = item.region
        texts = (
            f"{row + 1}",
            region.structure,
            self._kinds.get(region.kind, region.kind),
            volume(region.volume_ml),
            volume(region.expected_error_ml, digits=3),
            self._states[item.state],
        )
        for column, text in enumerate(texts):
            cell = qt.QTableWidgetItem(text)
            cell.setToolTip(region.structure if column == 1 else text)
            if column in (0, 3, 4):
                cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if column == 1 and region.structure in colors:
                cell.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in colors[region.structure])))
            if item.state != OPEN:
                cell.setForeground(qt.QBrush(qt.QColor(text_colors.color(text_colors.QUIET))))
            self._table.setItem(row, column, cell)
