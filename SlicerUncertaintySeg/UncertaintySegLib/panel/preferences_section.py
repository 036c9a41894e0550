"""What an annotator sets once: drafts, opacity, editing, downloads; and which keys there are."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import downloads, keyboard, settings
from UncertaintySegLib.panel.section import Section


class PreferencesSection(Section):
    """Shows the settings and changes them as soon as a widget does."""

    name = "Preferences"
    title = _("Preferences")
    collapsed = True

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        for key, check_box in self._check_boxes().items():
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
        state = self.session.state
        kept = {result.key for result in (state.result, state.base, state.model_result) if result}
        freed = downloads.remove(self.session.folder, kept)
        self._show_downloads()
        self.session.say(_("{megabytes:.0f} MB of downloads are removed.").format(megabytes=freed / 1e6))

    def _check_boxes(self) -> dict[str, object]:
        ui = self.ui
        return {"editInsideRisk": ui.editInsideRiskCheckBox, "refitAfterSubmit": ui.refitAfterSubmitCheckBox}

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
            table.setItem(row, 1, qt.QTableWidgetItem(key.text))
        table.resizeColumnToContents(0)
