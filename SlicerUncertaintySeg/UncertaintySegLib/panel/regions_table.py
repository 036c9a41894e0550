"""The list of regions: rank, structure, kind, volume, expected error, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.regions import OPEN, Item
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.server.sizes import ML

_RANK, _STRUCTURE, _KIND, _SIZE, _WRONG, _STATE, _FRAME = range(7)
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
            _("Size"): _("Size of the region."),
            _("Wrong"): _("How much of it is expected to be wrong, as the server says."),
            _("State"): _("What became of it."),
            _("Frame"): _("In which frame of the clip it is, counted from 1."),
        }
        table.setColumnCount(len(headings))
        header = table.horizontalHeader()
        for column, (heading, tooltip) in enumerate(headings.items()):
            item = qt.QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            table.setHorizontalHeaderItem(column, item)
            is_wide = column == _STRUCTURE
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if is_wide else qt.QHeaderView.Interactive)
        header.setMinimumSectionSize(24)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.setTextElideMode(qt.Qt.ElideMiddle)
        table.cellClicked.connect(lambda row, _column: select(row))

    def show(
        self,
        items: Sequence[Item],
        current: int | None,
        colors: Mapping[str, tuple[float, float, float]],
        unit: str = ML,
    ) -> None:
        """Show regions, whose sizes are in a unit; the same ones again cost nothing."""
        shown = (tuple(items), tuple(colors.items()), unit)
        if shown != self._shown:
            self._shown = shown
            for column, heading in ((_SIZE, "{unit}"), (_WRONG, _("Wrong, {unit}"))):
                self._table.horizontalHeaderItem(column).setText(heading.format(unit=sizes.shown(unit)))
            self._table.setColumnHidden(_FRAME, all(item.region.frame is None for item in items))
            self._table.setRowCount(len(items))
            height = self._table.horizontalHeader().height + _ROW_HEIGHT * min(len(items), _ROWS) + 4
            self._table.setFixedHeight(height)
            for row, item in enumerate(items):
                self._fill(row, item, colors)
            for column in (_RANK, _KIND, _SIZE, _WRONG, _STATE, _FRAME):  # once: by itself it is done at every cell
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
            "" if region.frame is None else f"{region.frame + 1}",
        )
        for column, text in enumerate(texts):
            cell = qt.QTableWidgetItem(text)
            cell.setToolTip(region.structure if column == _STRUCTURE else text)
            if column in (_RANK, _SIZE, _WRONG, _FRAME):
                cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if column == _STRUCTURE and region.structure in colors:
                cell.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in colors[region.structure])))
            if item.state != OPEN:
                cell.setForeground(qt.QBrush(qt.QColor(text_colors.color(text_colors.QUIET))))
            self._table.setItem(row, column, cell)
