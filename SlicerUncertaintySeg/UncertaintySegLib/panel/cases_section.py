"""Which case is worked on: the next one, the one before, any of them, or a volume of the scene."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.batch import Batch
from UncertaintySegLib.logic.cases import Cases
from UncertaintySegLib.logic.intake import Intake
from UncertaintySegLib.logic.leases import Lease
from UncertaintySegLib.logic.pace import Pace
from UncertaintySegLib.logic.prefetch import Prefetch
from UncertaintySegLib.panel.batch_box import BatchBox
from UncertaintySegLib.panel.cases_table import CasesTable
from UncertaintySegLib.panel.intake_box import IntakeBox
from UncertaintySegLib.panel.pace_line import PaceLine
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import fill, may_leave, name_keys, timer
from UncertaintySegLib.server.replies import Sample


class CasesSection(Section):
    """Takes cases from the server."""

    name = "Cases"
    title = _("Cases")

    def setup(self) -> None:
        """Connect the widgets."""
        ui, session = self.ui, self.session
        self.cases = Cases(session, lambda: may_leave(session))
        self.prefetch = Prefetch(session, self.cases, lambda: self.ui.strategyComboBox.currentText)
        self.lease = Lease(session)
        self._renewal = timer(round(1000 * self.lease.seconds), self.lease.renew, repeat=True)
        self._renewal.start()
        self._table = CasesTable(ui.casesTable, ui.filterLineEdit, ui.queueComboBox, ui.countLabel, self.cases.open)
        self._intake = IntakeBox(ui, Intake(session, lambda: may_leave(session), self.cases.remember))
        self.batch, self.pace = Batch(session), Pace(session)
        self._batch_box = BatchBox(ui, self.batch, self._table.selected)
        self._pace_line = PaceLine(ui, self.pace)
        self._info = None
        self._url = self._model = ""
        ui.strategyComboBox.currentIndexChanged.connect(self.on_strategy)
        ui.nextButton.clicked.connect(self.on_next)
        name_keys({"next_case": ui.nextButton})
        ui.skipButton.clicked.connect(self.on_skip)
        ui.previousButton.clicked.connect(lambda *_arguments: self.cases.previous())
        ui.scoreButton.clicked.connect(lambda *_arguments: self.cases.score(session.state.model))
        ui.refreshButton.clicked.connect(lambda *_arguments: self.cases.list())
        session.next_wanted.connect(self.on_next)
        session.next_label_wanted.connect(self.on_next_label)
        session.reopen_wanted.connect(self.on_reopen)
        session.cases_changed.connect(self.cases.list)

    def close(self) -> None:
        """Let others have the case."""
        self._renewal.stop()
        self.batch.cancel()
        self.lease.give_back()

    def on_strategy(self, *_arguments) -> None:
        """Remember the strategy."""
        settings.remember("strategy", self.ui.strategyComboBox.currentText)
        self._describe_strategy()
        self.refresh()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"next_case": self.ui.nextButton.click}

    def on_next(self, *_arguments) -> None:
        """Open the case that the strategy chooses."""
        if self.ui.strategyComboBox.currentText:
            self.cases.next(self.ui.strategyComboBox.currentText)

    def on_next_label(self) -> None:
        """Open the next case of the table whose label is yet to be reviewed."""
        self.cases.next_label(self._table.cases)

    def on_reopen(self) -> None:
        """Open the case again, with the label that the server has of it now."""
        if self.session.state.sample is not None:
            self.cases.open(self.session.state.sample.id)

    def on_skip(self, *_arguments) -> None:
        """Pass over the case and open the next one."""
        self.cases.next(self.ui.strategyComboBox.currentText, skip=True)

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        state, ui = self.session.state, self.ui
        if state.info is not self._info:
            self._info = state.info
            self._greet()
        if state.model != self._model:
            self._model = state.model
            self.cases.list()
        self._show_sample(state.sample)
        self._table.show(self.cases.rows, state.sample.id if state.sample else "", self.cases.not_served)
        has_rows = bool(self.cases.rows)
        ui.labelledProgressBar.setVisible(has_rows)
        ui.allCasesGroupBox.setVisible(has_rows)
        ui.labelledProgressBar.setRange(0, len(self.cases.rows) or 1)
        ui.labelledProgressBar.setValue(self.cases.labelled)
        ready = state.info is not None and not self.session.busy
        has_strategy = ready and ui.strategyComboBox.count > 0
        ui.nextButton.setEnabled(has_strategy)
        ui.skipButton.setEnabled(has_strategy and state.sample is not None and not state.read_only)
        ui.previousButton.setEnabled(ready and self.cases.can_go_back)
        can_score = ready and bool(state.model) and not state.read_only
        ui.scoreButton.setEnabled(can_score)
        self._offer_scores(can_score and self.cases.needs_scores(ui.strategyComboBox.currentText))
        ui.refreshButton.setEnabled(state.info is not None)
        ui.sceneGroupBox.setVisible(not state.read_only)
        self._intake.refresh()
        self._batch_box.refresh()

    def _greet(self) -> None:
        """Take in what a server offers, or that there is none."""
        if self.session.url != self._url:
            self._url = self.session.url
            self.cases.forget()
        names = self._info.strategies if self._info else ()
        fill(self.ui.strategyComboBox, {name: name for name in names}, settings.value("strategy"))
        self._describe_strategy()
        self.cases.list()

    def _offer_scores(self, offered: bool) -> None:
        ui = self.ui
        text = _("No case has a score yet, so {strategy} goes by name: let {model} score the cases first.")
        names = {"strategy": ui.strategyComboBox.currentText, "model": self.session.state.model}
        ui.scoreHintLabel.setText(text.format(**names) if offered else "")
        ui.scoreHintLabel.setVisible(offered)
        for button, is_first in ((ui.scoreButton, offered), (ui.nextButton, not offered)):
            button.setDefault(is_first)
            button.setStyleSheet("font-weight: bold" if is_first else "")

    def _describe_strategy(self) -> None:
        combo_box = self.ui.strategyComboBox
        about = self._info.strategies.get(combo_box.currentText, "") if self._info else ""
        combo_box.setToolTip(about or _("How the next case is chosen."))

    def _show_sample(self, sample: Sample | None) -> None:
        ui = self.ui
        ui.caseLabel.setText(sample.id if sample else _("No case is open."))
        ui.reasonLabel.setText("\n".join(_reasons(sample)) if sample else "")
        ui.reasonLabel.setToolTip(_provenance(sample) if sample else "")
        ui.reasonLabel.setVisible(bool(sample and _reasons(sample)))
        hint = (sample.stopping or "") if sample else ""
        ui.hintLabel.setText(hint)
        ui.hintLabel.setVisible(bool(hint))


def _reasons(sample: Sample) -> list[str]:
    left = sample.remaining
    counts = {
        "unlabelled": _("{count} without a label"),
        "scored": _("{count} of them scored"),
        "skipped": _("{count} skipped"),
        "locked": _("{count} with others"),
    }
    told = [text.format(count=left[name]) for name, text in counts.items() if left.get(name)]
    return [line for line in (sample.reason, ", ".join(told)) if line]


def _provenance(sample: Sample) -> str:
    lines = [f"{name}: {value}" for name, value in sample.provenance.items()]
    return "\n".join([_("Why this case."), *lines])
