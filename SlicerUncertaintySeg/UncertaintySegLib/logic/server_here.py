"""A server on this computer in one click."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.connection import Connection
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.local_server import LocalServer

LOG_LINES = 500
"""How many lines of the log are kept."""


class ServerHere:
    """Starts the server, connects to it once it answers, and tells when it ends. A timer must call `tick`.

    Args:
        connection: What to connect to it.

    Attributes:
        log: The last lines that it printed.
        printed: How many lines it printed in all.
        starting, stopping: Whether it is about to.
        changed: After every change.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.session
        self._server: LocalServer | None = None
        self._asking = False
        self.starting = self.stopping = False
        self.log: list[str] = []
        self.printed = 0
        self.changed = Signal()

    @property
    def running(self) -> bool:
        """Whether there is one, ready or not."""
        return self._server is not None

    def start(self, command: str, studies: str, client_id: str) -> None:
        """Start it over a folder of scans for somebody, and remember all three."""
        if self.running or self._session.busy:
            return
        command = command.strip() or settings.DEFAULTS["serverCommand"]
        for key, new in {"serverCommand": command, "studies": studies, "clientId": client_id}.items():
            settings.remember(key, new)
        try:
            self._server = LocalServer(command, Path(studies).expanduser(), slicer.util.startupEnvironment())
        except ServerError as error:
            self._session.fail(error)
            return
        self.starting, self.stopping, self._asking = True, False, False
        self.log, self.printed = [], 0
        self._session.say(_("Starting a server on this computer: this takes some seconds."))
        self.changed.emit()

    def stop(self) -> None:
        """Stop it; what it has under way is lost, what was submitted is not."""
        if self._server is not None and not self.stopping:
            self.starting, self.stopping = False, True
            self._server.stop()
            self.changed.emit()

    def tick(self) -> None:
        """Read its log, and notice that it is ready or has ended."""
        server = self._server
        if server is None:
            return
        ended = not server.running
        lines = server.log_lines()
        if lines:
            self.log = [*self.log, *lines][-LOG_LINES:]
            self.printed += len(lines)
            self.changed.emit()
        if ended:
            self._on_end(server)
        elif self.starting and not self._asking:
            self._asking = True
            self._session.ask(
                "health",
                {"server": {"url": server.url, "token": ""}},
                lambda _answer: self._on_ready(server),
                quiet=True,
                failed=lambda _error: self._on_not_yet(),
            )

    def close(self) -> None:
        """Stop it without waiting, and remove its log."""
        if self._server is not None:
            self._server.forget()
            self._server = None

    def _on_ready(self, server: LocalServer) -> None:
        self._asking = False
        if server is not self._server or not self.starting or self._session.busy:
            return  # asked again where something else runs just now
        self.starting = False
        self._connection.connect(server.url, "", settings.value("clientId"))
        self.changed.emit()

    def _on_not_yet(self) -> None:
        self._asking = False

    def _on_end(self, server: LocalServer) -> None:
        asked_for = self.stopping
        server.forget()
        self._server, self.starting, self.stopping = None, False, False
        if self._session.url == server.url:
            self._connection.disconnect()
        if asked_for:
            self._session.say(_("The server on this computer was stopped."))
        else:
            last = next((line.strip() for line in reversed(self.log) if line.strip()), _("it printed nothing"))
            self._session.fail(_("The server on this computer has ended: {last_line}").format(last_line=last))
        self.changed.emit()
