"""The panel: the status line, the sections under it, and the timer that keeps them alive."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import keyboard
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.summary import Summary
from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.panel.help_overlay import HelpOverlay
from UncertaintySegLib.panel.keys import Keys
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import name_keys, rename_keys

_PUMP_MILLISECONDS = 10
_MINUTES_FROM = 120.0  # seconds
_READING = ("Server", "Cases", "Segment", "Report", "Risk")  # what comes first for those who only look


class Panel:
    """Shows a session and passes on what the user does.

    Args:
        ui: Widgets of UncertaintySeg.ui, by name.
        session: What is worked on.
        sections: The classes of the sections, from top to bottom.
        ui_folder: Where the sections' .ui files are.

    Attributes:
        sections: The sections by name.
        keys: Their keys.
        help: What shows them.
    """

    def __init__(self, ui, session: Session, sections: list[type[Section]], ui_folder: str) -> None:
        self.ui = ui
        self.session = session
        self.sections = {section.name: section(session, ui_folder) for section in sections}
        self._summary, self._is_reading = Summary(session), False
        for section in self.sections.values():
            ui.sections.layout().addWidget(section.button)
        acts = {name: act for section in self.sections.values() for name, act in section.actions().items()}
        self.help = HelpOverlay()
        self.keys = Keys({**acts, "help": self.help.toggle}, session.say)
        self._reports = acts.get("report")
        ui.quickReportButton.clicked.connect(lambda *_checked: self._reports())
        ui.helpButton.clicked.connect(lambda *_checked: self.help.toggle())
        name_keys({"report": ui.quickReportButton, "help": ui.helpButton})
        ui.cancelButton.clicked.connect(self.on_cancel)
        session.changed.connect(self.refresh)
        keyboard.changed.connect(self.on_keys)
        # What comes from the server is handled here, on the thread that may touch the scene.
        self._timer = qt.QTimer()
        self._timer.setInterval(_PUMP_MILLISECONDS)
        self._timer.timeout.connect(session.pump)
        self._timer.start()
        self.refresh()

    def enter(self) -> None:
        """The module is open now."""
        for section in self.sections.values():
            section.enter()
        self.keys.activate()

    def exit(self) -> None:
        """Another module is open now."""
        self.keys.deactivate()
        self.help.close()
        for section in self.sections.values():
            section.exit()

    def close(self) -> None:
        """Stop what runs."""
        self._timer.stop()
        keyboard.changed.disconnect(self.on_keys)
        self.keys.deactivate()
        self.help.close()
        for section in self.sections.values():
            section.close()
        self.session.close()

    def on_cancel(self, *_arguments) -> None:
        """Stop what runs, on the server too."""
        self.session.cancel()
        self.ui.cancelButton.setEnabled(False)

    def on_keys(self) -> None:
        """Something has another key: let it work, and name it wherever it is named."""
        self.keys.renew()
        self.help.renew()
        rename_keys((self.ui.quickReportButton, self.ui.helpButton))
        for section in self.sections.values():
            section.show_keys()
        self.refresh()

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        state, ui = self.session.state, self.ui
        running = state.fraction is not None
        ui.progressBar.setVisible(running)
        ui.progressBar.setValue(round(100 * state.fraction) if running else 0)
        ui.cancelButton.setVisible(running)
        ui.cancelButton.setEnabled(running)
        ui.statusLabel.setText(_progress_text(state) if running else state.message)
        is_error = state.is_error and not running
        text_colors.style(ui.statusLabel, *((text_colors.ERROR, "font-weight: bold") if is_error else (None,)))
        ui.summaryLabel.setText(self._summary.text)
        ui.summaryLabel.setVisible(bool(self._summary.text))
        ui.quickReportButton.setVisible(bool(self._summary.text and self._reports))
        if state.read_only != self._is_reading:
            self._is_reading = state.read_only
            self._arrange()
        for section in self.sections.values():
            section.refresh()

    def _arrange(self) -> None:
        """Put what is known of the case, opened, before what may be set: but for those who edit in the usual order."""
        names = list(self.sections)
        if self._is_reading:
            names.sort(key=lambda name: _READING.index(name) if name in _READING else len(_READING))
        layout = self.ui.sections.layout()
        for place, name in enumerate(names):
            button = self.sections[name].button
            layout.removeWidget(button)
            layout.insertWidget(place, button)
            if self._is_reading and name in _READING[-2:]:
                button.collapsed = False


def _progress_text(state) -> str:
    stage = state.stage or _("Working")
    if state.eta_s is None:
        return _("{stage}...").format(stage=stage)
    minutes = state.eta_s >= _MINUTES_FROM
    text = _("{stage}... about {minutes:.0f} min left") if minutes else _("{stage}... about {seconds:.0f} s left")
    return text.format(stage=stage, seconds=state.eta_s, minutes=state.eta_s / 60)
