"""What an annotator sets once: drafts, opacity, editing, downloads; and which keys there are."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import downloads, keyboard, settings
from UncertaintySegLib.logic.shared_keys import owners
from UncertaintySegLib.panel.section import Section


class PreferencesSection(Section):
    """Shows the settings and changes them as soon as a widget does."""

    name = "Preferences"
    title = _("Preferences")
    collapsed = True

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        for check_box, key in (
            (ui.segmentByItselfCheckBox, "segmentByItself"),
            (ui.prefetchCheckBox, "prefetch"),
            (ui.refitAfterSubmitCheckBox, "refitAfterSubmit"),
            (ui.modelColorsCheckBox, "modelColors"),
        ):
            check_box.setChecked(settings.value(key))
            check_box.toggled.connect(lambda checked, key=key: settings.remember(key, checked))
        ui.autosaveSpinBox.setValue(settings.value("autosaveSeconds"))
        ui.autosaveSpinBox.valueChanged.connect(lambda seconds: settings.remember("autosaveSeconds", seconds))
        ui.opacitySpinBox.setValue(settings.value("opacity"))
        ui.opacitySpinBox.valueChanged.connect(lambda opacity: settings.remember("opacity", opacity))
        ui.removeDownloadsButton.clicked.connect(self.on_remove_downloads)
        self.button.contentsCollapsed.connect(self.on_collapsed)
        self._fill_keys()

    def on_collapsed(self, collapsed: bool) -> None:
        """Say how much there is to remove when somebody looks."""
        if not collapsed:
            self._show_downloads()

    def on_remove_downloads(self, *_arguments) -> None:
        """Remove what came from the server, less the open case."""
        if self.session.worker.pending:
            self.session.say(_("Something is being downloaded: try again when it has ended."))
            return
        state = self.session.state
        kept = {result.key for result in (state.result, state.base, state.model_result) if result}
        freed = downloads.remove(self.session.folder, kept)
        self._show_downloads()
        self.session.say(_("{megabytes:.0f} MB of downloads are removed.").format(megabytes=freed / 1e6))

    def _show_downloads(self) -> None:
        size = downloads.size(self.session.folder) / 1e6
        self.ui.removeDownloadsButton.setText(_("Remove {megabytes:.0f} MB").format(megabytes=size))

    def _fill_keys(self) -> None:
        table = self.ui.keysTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Key"), _("What it does")])
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setStretchLastSection(True)
        table.setRowCount(len(keyboard.KEYS))
        for row, key in enumerate(keyboard.KEYS):
            table.setItem(row, 0, qt.QTableWidgetItem(key.sequence))
            what = qt.QTableWidgetItem(key.text)
            what.setFlags(qt.Qt.ItemIsEnabled)
            table.setItem(row, 1, what)
        table.resizeColumnToContents(0)
        table.cellChanged.connect(self.on_key)

    def show_keys(self) -> None:
        """Name the keys as they are now, whichever panel somebody has changed one in."""
        super().show_keys()
        table = self.ui.keysTable
        table.blockSignals(True)
        for row, key in enumerate(keyboard.KEYS):
            table.item(row, 0).setText(key.sequence)
        table.blockSignals(False)

    def on_key(self, row: int, column: int) -> None:
        """Give something another key, or several; what is no key, or another one's of ours, is put back."""
        item, key = self.ui.keysTable.item(row, column), keyboard.KEYS[row]
        typed = [part.strip() for part in item.text().split(";") if part.strip()]
        wanted = [qt.QKeySequence(part).toString() for part in typed]
        taken = [other for other in keyboard.KEYS if other is not key and set(other.sequences) & set(wanted)]
        if taken or not all(wanted):
            reason = _("'{text}' is taken: {what}.") if taken else _("'{text}' is no key.")
            self.session.fail(reason.format(text=item.text().strip(), what=taken[0].text if taken else ""))
            wanted = list(key.sequences)
        elif keyboard.join(wanted) != key.sequence:
            keyboard.change(key.name, keyboard.join(wanted))
            text = _("{keys}: {what}.") if wanted else _("No key any more: {what}.")
            self.session.say(text.format(keys=key.sequence, what=key.text))
            self._warn(wanted, key.name)
        if item.text() != keyboard.join(wanted):
            item.setText(keyboard.join(wanted))

    def _warn(self, sequences: list[str], name: str) -> None:
        """Say who else has a key that somebody has chosen; it works all the same."""
        others = [shared for sequence in sequences for shared in owners(sequence, name)]
        if others:
            text = _("{key} is a key of {owner}, too ({what}): while this module is open it does what you chose.")
            other = others[0]
            self.session.say(text.format(key=other.sequence, owner=other.owner, what=other.what))
