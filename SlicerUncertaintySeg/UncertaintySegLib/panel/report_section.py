"""For those who look and do not edit: read-only, screenshots, and the report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import ctk
import qt
from slicer.i18n import tr as _

from UncertaintySegLib.errors import UncertaintySegError
from UncertaintySegLib.logic import report, report_page, settings
from UncertaintySegLib.logic import selection as texts
from UncertaintySegLib.logic.clips import curves
from UncertaintySegLib.logic.summary import selection_of
from UncertaintySegLib.panel import curve_picture, legend_picture, report_pdf, time_picture
from UncertaintySegLib.panel.archive_box import ArchiveBox
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import name_keys
from UncertaintySegLib.scene.time_plot import Chart

_CURVE_SIZE = (660, 400)
_TIME_HEIGHT = 190
_ON_PAPER = {"ink": qt.QColor(0, 0, 0), "paper": qt.QColor(255, 255, 255), "ratio": 2.0}


class ReportSection(Section):
    """Writes what is known of the case to files."""

    name = "Report"
    title = _("Report")
    collapsed = True

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._written: Path | None = None
        self.archive = ArchiveBox(ui, self.session, self._write_pdf)
        self.session.state.read_only = settings.value("readOnly")
        ui.readOnlyCheckBox.setChecked(self.session.state.read_only)
        ui.folderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.folderPathLineEdit.currentPath = settings.value("reportFolder") or str(report.default_folder())
        ui.pdfCheckBox.setVisible(hasattr(qt, "QPdfWriter"))
        ui.readOnlyCheckBox.toggled.connect(self.on_read_only)
        ui.folderPathLineEdit.currentPathChanged.connect(self.on_folder)
        ui.reportButton.clicked.connect(self.on_report)
        name_keys({"report": ui.reportButton})
        ui.screenshotButton.clicked.connect(self.on_screenshots)
        ui.openButton.clicked.connect(self.on_open)
        self.refresh()

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        ui, state = self.ui, self.session.state
        ui.reportButton.setEnabled(state.result is not None)
        ui.screenshotButton.setEnabled(self.session.scene.case is not None)
        ui.openButton.setEnabled(self._written is not None)
        self.archive.refresh()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what one press anywhere does here."""
        return {"report": self.ui.reportButton.click}

    def on_read_only(self, checked: bool) -> None:
        """Switch between looking and editing."""
        settings.remember("readOnly", checked)
        self.session.state.read_only = bool(checked)
        self.session.changed.emit()

    def on_folder(self, path: str) -> None:
        """Remember where reports go."""
        settings.remember("reportFolder", path)

    def on_report(self, *_arguments) -> None:
        """Write the report."""
        try:
            self._written = self._write()
        except (UncertaintySegError, OSError) as error:
            self.session.fail(error if isinstance(error, UncertaintySegError) else str(error))
            return
        self.session.say(_("The report is written: {path}").format(path=self._written))

    def on_screenshots(self, *_arguments) -> None:
        """Write a picture of every view."""
        try:
            written = report.save_screenshots(self._folder, self.session.scene.case)
        except UncertaintySegError as error:
            self.session.fail(error)
            return
        self.session.say(_("{count} pictures are written to {folder}.").format(count=len(written), folder=self._folder))

    def on_open(self, *_arguments) -> None:
        """Show the report in the browser, or whatever shows such files here."""
        if not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._written))):
            self.session.fail(_("Nothing here can show it: open {path} yourself.").format(path=self._written))

    @property
    def _folder(self) -> Path:
        chosen = str(self.ui.folderPathLineEdit.currentPath).strip()
        return Path(chosen).expanduser() if chosen else report.default_folder()

    def _write(self) -> Path:
        gathered = self._gather()
        page = report_page.html(gathered)
        stem = report.file_stem(gathered.case, gathered.made)
        path = report.write(self._folder / f"{stem}.html", page.encode("utf-8"))
        report.write(path.with_suffix(".csv"), report.table_file(gathered))
        if self.ui.pdfCheckBox.checked and report_pdf.write(page, path.with_suffix(".pdf")):
            return path.with_suffix(".pdf")
        return path

    def _write_pdf(self, path: Path) -> bool:
        return report_pdf.write(report_page.html(self._gather()), path)

    def _gather(self) -> report.Report:
        return report.gather(self.session, self._curve(), self._legend(), self._over_time())

    def _over_time(self) -> list[tuple[Chart, bytes]]:
        told = curves(self.session) if self.session.state.result is not None else None
        size = report_page.TIME_WIDTH, _TIME_HEIGHT
        return [
            (chart, _png(time_picture.draw(chart, *size, **_ON_PAPER))) for chart in (told.charts() if told else ())
        ]

    def _curve(self) -> bytes | None:
        chart = texts.chart(selection_of(self.session)) if self.session.state.result is not None else None
        if chart is None:
            return None
        width, height = _CURVE_SIZE
        return _png(curve_picture.draw(chart, width // 2, height // 2, **_ON_PAPER))

    def _legend(self) -> bytes | None:
        scene = self.session.scene
        if scene.shown not in scene.maps:
            return None
        low, high = scene.threshold(scene.shown), scene.maximum(scene.shown)
        return _png(legend_picture.draw(low, high, scene.scale, report_page.LEGEND_WIDTH, **_ON_PAPER))


def _png(picture: qt.QPixmap) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture.save(str(path))
        return path.read_bytes()
