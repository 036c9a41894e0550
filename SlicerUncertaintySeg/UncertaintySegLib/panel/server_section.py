"""Which server, whether it is there, and one on this computer."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.connection import Connection, Light
from UncertaintySegLib.logic.server_here import LOG_LINES, ServerHere
from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import name_keys
from UncertaintySegLib.server.problems import ADDRESS, TOKEN

_TICK_MILLISECONDS = 500
_ROLES = {
    Light.OFF: text_colors.QUIET,
    Light.CONNECTING: text_colors.WARNING,
    Light.ON: text_colors.GOOD,
    Light.LOST: text_colors.ERROR,
}


class ServerSection(Section):
    """Address, token and name; the state light; start and stop of a server on this computer with its log."""

    name = "Server"
    title = _("Server")

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self.connection = Connection(self.session)
        self.here = ServerHere(self.connection)
        self._shown_lines, self._shown_url, self._shown_problem = 0, "", ("", "")
        ui.serverLineEdit.setText(settings.value("serverUrl"))
        ui.tokenLineEdit.setText(settings.value("token"))
        ui.clientIdLineEdit.setText(settings.value("clientId") or _user_name())
        ui.studiesLineEdit.setText(settings.value("studies"))
        ui.commandLineEdit.setText(settings.value("serverCommand"))
        ui.logPlainTextEdit.setMaximumBlockCount(LOG_LINES)
        for line_edit in (ui.serverLineEdit, ui.tokenLineEdit, ui.clientIdLineEdit):
            line_edit.returnPressed.connect(self.on_connect)
        ui.connectButton.clicked.connect(self.on_connect)
        name_keys({"connect": ui.connectButton})
        ui.testButton.clicked.connect(self.on_test)
        ui.showTokenButton.toggled.connect(self.on_show_token)
        ui.browseButton.clicked.connect(self.on_browse)
        ui.startButton.clicked.connect(self.on_start)
        ui.stopButton.clicked.connect(self.on_stop)
        self.connection.changed.connect(self.refresh)
        self.here.changed.connect(self.refresh)
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MILLISECONDS)
        self._timer.timeout.connect(self.on_tick)
        self._timer.start()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"connect": self.ui.connectButton.click}

    def close(self) -> None:
        """Stop the server on this computer; the network needs no more looking after."""
        self._timer.stop()
        self.here.close()

    def on_connect(self, *_arguments) -> None:
        """Connect with what the lines say."""
        ui = self.ui
        self.connection.connect(ui.serverLineEdit.text, ui.tokenLineEdit.text, ui.clientIdLineEdit.text.strip())

    def on_test(self, *_arguments) -> None:
        """Say whether a server answers at the address."""
        self.connection.test(self.ui.serverLineEdit.text, self.ui.tokenLineEdit.text)

    def on_show_token(self, shown: bool) -> None:
        """Show the token or hide it."""
        self.ui.tokenLineEdit.setEchoMode(qt.QLineEdit.Normal if shown else qt.QLineEdit.Password)

    def on_browse(self, *_arguments) -> None:
        """Choose the folder of scans for a server on this computer."""
        chosen = qt.QFileDialog.getExistingDirectory(
            self.button, _("Folder with the scans"), self.ui.studiesLineEdit.text
        )
        if chosen:
            self.ui.studiesLineEdit.setText(chosen)

    def on_start(self, *_arguments) -> None:
        """Start a server on this computer."""
        ui = self.ui
        self.here.start(ui.commandLineEdit.text, ui.studiesLineEdit.text, ui.clientIdLineEdit.text.strip())

    def on_stop(self, *_arguments) -> None:
        """Stop the server on this computer."""
        self.here.stop()

    def on_tick(self) -> None:
        """Look after both."""
        self.here.tick()
        self.connection.tick()

    def refresh(self) -> None:
        """Make the widgets show the state of the connection."""
        ui, connection, busy = self.ui, self.connection, self.session.busy
        self.button.text = _("Server: {state}").format(state=_states()[connection.light])
        text_colors.style(ui.lightLabel, _ROLES[connection.light], "font-size: 16pt")
        ui.connectionLabel.setText(connection.text)
        ui.connectButton.setText(_("Reconnect") if self.session.state.info else _("Connect"))
        ui.connectButton.setEnabled(not busy)
        ui.startButton.setEnabled(not busy and not self.here.running)
        ui.stopButton.setEnabled(self.here.running and not self.here.stopping)
        if connection.light is Light.ON and self.session.url != self._shown_url:
            self._shown_url = self.session.url
            ui.serverLineEdit.setText(self._shown_url)
        self._show_problem()
        self._show_log()

    def _show_problem(self) -> None:
        """Say beside the line what is wrong with what it says, and put the cursor there."""
        ui, (field, text) = self.ui, self.connection.problem
        lines = {ADDRESS: (ui.addressProblemLabel, ui.serverLineEdit), TOKEN: (ui.tokenProblemLabel, ui.tokenLineEdit)}
        for name, (label, _line_edit) in lines.items():
            label.setText(text if name == field else "")
            label.setVisible(name == field)
        if (field, text) != self._shown_problem:
            self._shown_problem = (field, text)
            if field and self.connection.light is Light.OFF:
                lines[field][1].setFocus()
                lines[field][1].selectAll()

    def _show_log(self) -> None:
        """Add the new lines to the log, which is emptied for a new server."""
        here, log = self.here, self.ui.logPlainTextEdit
        if here.printed < self._shown_lines:
            log.setPlainText("")
            self._shown_lines = 0
        if here.printed > self._shown_lines:
            log.appendPlainText("\n".join(here.log[self._shown_lines - here.printed :]))
            self._shown_lines = here.printed


def _states() -> dict[Light, str]:
    """Return what the title says, so that it can be seen when the section is closed."""
    return {
        Light.OFF: _("not connected"),
        Light.CONNECTING: _("connecting"),
        Light.ON: _("connected"),
        Light.LOST: _("not reachable"),
    }


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such thing on this system
        return ""
