"""Every state of the case's label: a list, how one differs from what counts, and the way back."""

from __future__ import annotations

import time

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.label_reviews import LabelReviews
from UncertaintySegLib.panel.places_table import PlacesTable
from UncertaintySegLib.server.label_replies import APPROVED, FLAGGED, LabelVersion, VersionComparison

_ROW_HEIGHT, _ROWS = 22, 6  # pixels; how many are seen at once


class VersionsBox:
    """Lists versions, compares and restores the one that is selected.

    Args:
        ui: Has the widgets.
        logic: Does it.
    """

    def __init__(self, ui, logic: LabelReviews) -> None:
        self._ui, self.logic = ui, logic
        self._versions: list[LabelVersion] | None = None
        self._comparison: VersionComparison | None = None
        table = ui.versionsTable
        headings = {
            "#": _("Number of the version."),
            _("Saved"): _("When it was saved."),
            _("By"): _("Who saved it, where somebody said."),
            _("s"): _("How many seconds it took."),
            _("Status"): _("What a reviewer said of it."),
        }
        self._set_headings(table, headings, stretched=2)
        self._set_headings(
            ui.changesTable,
            {
                _("Structure"): _("Of either version."),
                _("Dice"): _("Overlap of the two versions: 1 where they are the same."),
                _("Then"): _("Size in the version that is compared."),
                _("Now"): _("Size in the version that counts."),
            },
            stretched=0,
        )
        table.itemSelectionChanged.connect(self.refresh)
        kinds = {"border": _("border"), "missed": _("more now"), "extra": _("more then")}
        self._places = PlacesTable(ui.differencesTable, kinds, logic.go_to)
        ui.compareButton.clicked.connect(self.on_compare)
        ui.restoreButton.clicked.connect(self.on_restore)
        ui.otherCheckBox.toggled.connect(lambda checked: logic.show_other(bool(checked)))
        self._fill_comparison()

    def on_compare(self, *_arguments) -> None:
        """Show how the selected version differs from the one that counts."""
        if self._selected() is not None:
            self._ui.otherCheckBox.setChecked(True)
            self.logic.compare(self._selected())

    def on_restore(self, *_arguments) -> None:
        """Make the selected version count again."""
        if self._selected() is not None:
            self.logic.restore(self._selected())

    def refresh(self) -> None:
        """Make the widgets show what there is."""
        ui, logic = self._ui, self.logic
        if logic.versions is not self._versions:
            self._versions = logic.versions
            self._fill_versions()
        if logic.comparison is not self._comparison:
            self._comparison = logic.comparison
            self._fill_comparison()
        ui.versionsGroupBox.setVisible(len(logic.versions) > 0)
        chosen, state = self._selected(), logic.session.state
        can = chosen is not None and not chosen.counts and not logic.session.busy
        ui.compareButton.setEnabled(can)
        ui.restoreButton.setEnabled(can)
        ui.restoreButton.setVisible(not state.read_only)

    def _selected(self) -> LabelVersion | None:
        rows = sorted({item.row() for item in self._ui.versionsTable.selectedItems()})
        return self.logic.versions[rows[0]] if rows and rows[0] < len(self.logic.versions) else None

    def _fill_versions(self) -> None:
        table = self._ui.versionsTable
        table.clearSelection()
        table.setRowCount(len(self._versions))
        for row, version in enumerate(self._versions):
            status = version.review.status if version.review is not None else ""
            texts = {APPROVED: _("approved"), FLAGGED: _("flagged")}
            shown = (
                f"{version.id}",
                time.strftime("%d %b %H:%M", time.localtime(version.time)),
                version.made_by or "-",
                "-" if version.seconds is None else f"{version.seconds:.0f}",
                _("counts, {status}").format(status=texts.get(status, _("to review")))
                if version.counts
                else texts.get(status, ""),
            )
            for column, text in enumerate(shown):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_about(version))
                if column in (0, 3):
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
        _set_height(table, len(self._versions))

    def _fill_comparison(self) -> None:
        ui, found = self._ui, self._comparison
        rows = found.structures if found is not None else ()
        ui.changesTable.setRowCount(len(rows))
        for row, change in enumerate(rows):
            shown = (change.name, f"{change.dice:.3f}", f"{change.ml[0]:.2f}", f"{change.ml[1]:.2f}")
            for column, text in enumerate(shown):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if column:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                ui.changesTable.setItem(row, column, item)
        _set_height(ui.changesTable, len(rows))
        ui.comparisonLabel.setText("")
        if found is not None:
            unit = sizes.shown(found.size_unit)
            for column, heading in ((2, _("Then, {unit}")), (3, _("Now, {unit}"))):
                ui.changesTable.horizontalHeaderItem(column).setText(heading.format(unit=unit))
            text = _("Version {number} and the one that counts differ on {size:.2f} {unit}. Its outlines are white.")
            ui.comparisonLabel.setText(text.format(number=found.version, size=found.changed_ml, unit=unit))
        for widget in (ui.comparisonLabel, ui.changesTable, ui.otherCheckBox):
            widget.setVisible(found is not None)
        self._places.show(*((found.regions, found.size_unit) if found is not None else ((),)))

    def _set_headings(self, table, headings: dict[str, str], *, stretched: int) -> None:
        table.setColumnCount(len(headings))
        for column, (heading, tooltip) in enumerate(headings.items()):
            item = qt.QTableWidgetItem(heading)
            item.setToolTip(tooltip)
            table.setHorizontalHeaderItem(column, item)
            resize = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
            table.horizontalHeader().setSectionResizeMode(column, resize)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.setTextElideMode(qt.Qt.ElideMiddle)


def _set_height(table, rows: int) -> None:
    table.setFixedHeight(table.horizontalHeader().height + _ROW_HEIGHT * min(rows, _ROWS) + 4)


def _about(version: LabelVersion) -> str:
    lines = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.time)), version.source, version.model or ""]
    if version.review is not None:
        lines += [version.review.comment, version.review.level]
    return "\n".join(line for line in lines if line)
