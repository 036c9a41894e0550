"""The table of all cases. It makes rows as they are scrolled to, so that thousands of cases cost no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import worklist
from UncertaintySegLib.panel.widgets import fill
from UncertaintySegLib.server.replies import CaseRow

_ROWS = 200
_REASONS = 30
_ROW_HEIGHT, _HOLDER_WIDTH = 22, 110  # pixels


class CasesTable:
    """Shows cases, sorted by the heading that was clicked and filtered by what was typed.

    Args:
        table: A `QTableWidget`.
        filter_edit: A `QLineEdit`.
        queue_box: A `QComboBox`: which of `worklist.QUEUES` is shown.
        count_label: Says how many cases are shown.
        chosen: Gets the id of a case that was double-clicked.
    """

    def __init__(self, table, filter_edit, queue_box, count_label, chosen: Callable[[str], None]) -> None:
        self._table, self._filter_edit, self._count_label, self._chosen = table, filter_edit, count_label, chosen
        self._queue_box, self._queues = queue_box, list(worklist.QUEUES)
        self._cases: Sequence[CaseRow] = ()
        self._shown: list[CaseRow] = []
        self._open = ""
        self._not_served: Mapping[str, str] = {}
        self._column, self._descending = 2, True
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Case"), _("State"), _("Score"), _("Who has it")])
        table.verticalHeader().setVisible(False)
        table.setTextElideMode(qt.Qt.ElideMiddle)  # names of cases differ at their end
        header = table.horizontalHeader()
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.resizeSection(3, _HOLDER_WIDTH)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(self._column, qt.Qt.DescendingOrder)
        header.sortIndicatorChanged.connect(self._sort)
        table.cellDoubleClicked.connect(self._choose)
        enter = qt.QShortcut(qt.QKeySequence("Return"), table)
        enter.setContext(qt.Qt.WidgetShortcut)
        enter.activated.connect(self._choose_current)
        table.verticalScrollBar().valueChanged.connect(self._scrolled)
        filter_edit.textChanged.connect(lambda *_arguments: self._arrange())
        fill(queue_box, {queue: text for queue, (text, _belongs) in worklist.QUEUES.items()})
        queue_box.currentIndexChanged.connect(lambda *_arguments: self._arrange())

    @property
    def cases(self) -> list[CaseRow]:
        """What the table shows, in its order."""
        return list(self._shown)

    def show(self, cases: Sequence[CaseRow], opened: str, not_served: Mapping[str, str]) -> None:
        """Show cases, the open one in bold, and how many files are none; the same ones again cost nothing."""
        if cases is self._cases and opened == self._open:
            return
        self._cases, self._open, self._not_served = cases, opened, not_served
        self._arrange()

    def selected(self) -> list[str]:
        """Return the ids of the cases whose rows are selected, from top to bottom."""
        return [self._shown[row].id for row in sorted({index.row() for index in self._table.selectedIndexes()})]

    def _arrange(self) -> None:
        text, selected = self._filter_edit.text, set(self.selected())
        queue = self._queues[self._queue_box.currentIndex]
        self._shown = worklist.arranged(self._cases, text, self._column, self._descending, queue)
        self._table.setRowCount(0)
        self._add_rows()
        last = self._table.columnCount - 1
        for row in range(self._table.rowCount):
            if self._shown[row].id in selected:
                self._table.setRangeSelected(qt.QTableWidgetSelectionRange(row, 0, row, last), True)
        counts = [_count_text(len(self._shown), len(self._cases)), _left_out_text(len(self._not_served))]
        self._count_label.setText("\n".join(filter(None, counts)))
        reasons = [f"{name}: {reason}" for name, reason in list(self._not_served.items())[:_REASONS]]
        self._count_label.setToolTip("\n".join(reasons) or _("How many cases the table shows."))

    def _add_rows(self) -> None:
        start = self._table.rowCount
        stop = min(start + _ROWS, len(self._shown))
        self._table.setRowCount(stop)
        for row in range(start, stop):
            self._fill_row(row, self._shown[row])

    def _fill_row(self, row: int, case: CaseRow) -> None:
        score = "-" if case.score is None else f"{case.score:.4g}"
        for column, text in enumerate((case.id, worklist.state(case), score, worklist.holder(case))):
            item = qt.QTableWidgetItem(text)
            seen = worklist.looked_at(case.looked_at)
            lines = (case.id, case.reason, worklist.holder(case), seen, worklist.reviewed(case))
            item.setToolTip("\n".join(filter(None, lines)))
            if column == 2:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if case.id == self._open:
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            self._table.setItem(row, column, item)

    def _scrolled(self, value: int) -> None:
        if value >= self._table.verticalScrollBar().maximum and self._table.rowCount < len(self._shown):
            self._add_rows()

    def _sort(self, column: int, order) -> None:
        self._column, self._descending = column, order == qt.Qt.DescendingOrder
        self._arrange()

    def _choose_current(self) -> None:
        if 0 <= self._table.currentRow() < len(self._shown):
            self._choose(self._table.currentRow(), 0)

    def _choose(self, row: int, _column: int) -> None:
        self._chosen(self._shown[row].id)


def _left_out_text(count: int) -> str:
    if not count:
        return ""
    text = (
        _("1 file is not served; hover to see why.")
        if count == 1
        else _("{count} files are not served; hover to see why.")
    )
    return text.format(count=count)


def _count_text(shown: int, total: int) -> str:
    if shown < total:
        return _("{shown} of {total} cases").format(shown=shown, total=total)
    return _("1 case") if total == 1 else _("{total} cases").format(total=total)
