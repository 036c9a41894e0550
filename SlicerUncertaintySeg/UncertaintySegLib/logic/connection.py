"""The way to the server: connecting, noticing that it is gone, and finding it again."""

from __future__ import annotations

import contextlib
import time
from enum import Enum
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib import __version__
from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.client import Client
from UncertaintySegLib.server.replies import ServerInfo, parse_info

_CHECK_SECONDS = 15.0
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0


class Light(Enum):
    """What the state light shows."""

    OFF = "off"
    CONNECTING = "connecting"
    ON = "on"
    LOST = "lost"


class Connection:
    """Connects a session to a server, looks now and then whether it is still there, and connects again by itself.

    A timer must call `tick` about twice a second.

    Args:
        session: What asks the server.

    Attributes:
        light: Whether there is a connection.
        text: The same in a sentence.
        problem: What is wrong with the address or the token, and which of them: "address" or "token"; else two "".
        changed: After every change of these.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.light = Light.OFF
        self.text = _("Not connected.")
        self.problem = ("", "")
        self.changed = Signal()
        self._next_check = 0.0
        self._pause = _FIRST_PAUSE
        self._checking = False
        self._seen_error = ""
        session.changed.connect(self._on_session_changed)

    def connect(self, url: str, token: str, client_id: str) -> None:
        """Connect, and remember with what; to the same server again renews what is known of it.

        An open case belongs to its server: another server closes it, and is refused where edits were not submitted.
        """
        if self.session.busy:
            return
        for key, new in {"serverUrl": url, "token": token, "clientId": client_id}.items():
            settings.remember(key, new)
        server, session = _server(url, token), self.session
        if self._is_other(server["url"]) and session.scene.edited:
            text = _("{case} has edits that {url} has not got: submit them before you connect to another server.")
            session.fail(text.format(case=session.state.sample.id, url=session.url))
            return
        self.problem = ("", "")
        self._show(Light.CONNECTING, _("Connecting to {url}...").format(url=server["url"]))
        session.ask(
            "connect",
            {"server": server},
            lambda answer: self._on_connected(answer, token),
            stage=_("Connecting"),
            failed=self._on_refused,
        )

    def disconnect(self) -> None:
        """Forget the server, say because it was stopped."""
        self.session.state.info = None
        self._show(Light.OFF, _("Not connected."))
        self.session.changed.emit()

    def test(self, url: str, token: str) -> None:
        """Say whether a server answers at an address, and how fast; nothing else changes."""
        started = time.monotonic()

        def answered(answer: dict[str, Any]) -> None:
            milliseconds = 1000 * (time.monotonic() - started)
            text = _("{server} answers in {milliseconds:.0f} ms.")
            self.session.say(text.format(server=_describe(answer, token), milliseconds=milliseconds))

        def refused(error: Exception) -> None:
            self._blame(error)
            self.session.fail(error)

        self._blame(None)
        self.session.ask("connect", {"server": _server(url, token)}, answered, quiet=True, failed=refused)

    def tick(self) -> None:
        """Look whether the server is there when it is time to."""
        remaining = self._next_check - time.monotonic()
        if self.light not in (Light.ON, Light.LOST) or self._checking:
            return
        if remaining > 0:
            if self.light is Light.LOST:
                self._show_lost(remaining)
            return
        self._checking, url = True, self.session.url
        again = self.light is Light.LOST
        self.session.ask(
            "connect" if again else "health",
            {},
            lambda answer: self._on_there(url, answer if again else None),
            quiet=True,
            failed=lambda error: self._on_gone(url, error),
        )

    def _on_connected(self, answer: dict[str, Any], token: str) -> None:
        info = parse_info(answer["info"], answer.get("who"))
        if self._is_other(answer["url"]):
            self.session.close_case()
        self.session.url, self.session.token = answer["url"], token
        self._know(info)
        self.problem = ("address", _other_server(info)) if _other_server(info) else ("", "")
        self._show(Light.ON, _("Connected to {server}.").format(server=_describe(answer, self.session.token)))
        self.session.say(_warning(info) or self.text)

    def _blame(self, error: Exception | None) -> None:
        """Say beside the field what is wrong with it."""
        field = getattr(error, "field", "")
        self.problem = (field, str(error)) if field else ("", "")
        self.changed.emit()

    def _on_refused(self, error: Exception) -> None:
        self.session.state.info = None
        self._show(Light.OFF, _("Not connected."))
        self._blame(error)
        self.session.fail(error)

    def _on_there(self, url: str, answer: dict[str, Any] | None) -> None:
        self._checking = False
        if url != self.session.url or self.light not in (Light.ON, Light.LOST):
            return
        self._plan(_CHECK_SECONDS)
        self._pause = _FIRST_PAUSE
        if answer is not None:
            self._know(parse_info(answer["info"], answer.get("who")))
            self._show(Light.ON, _("Connected to {server}.").format(server=_describe(answer, self.session.token)))
            self.session.say(_("{url} answers again: go on where you were.").format(url=url))

    def _on_gone(self, url: str, error: Exception) -> None:
        self._checking = False
        if url != self.session.url or self.light not in (Light.ON, Light.LOST):
            return
        if isinstance(error, ServerError) and error.status in (401, 403):
            self._on_refused(error)
            return
        self._plan(self._pause)
        if self.light is Light.ON and not self.session.state.is_error:
            self.session.fail(_("{url} is not reachable: it is tried again by itself.").format(url=url))
        self._show_lost(self._pause)
        self._pause = min(2 * self._pause, _LAST_PAUSE)

    def _on_session_changed(self) -> None:
        """Look at once after an error: the server may be gone."""
        state = self.session.state
        error = state.message if state.is_error else ""
        if error and error != self._seen_error and self.light is Light.ON:
            self._plan(0.0)
        self._seen_error = error

    def _is_other(self, url: str) -> bool:
        """Whether the open case, if there is one, is not of this server."""
        return bool(self.session.url) and url != self.session.url and self.session.state.sample is not None

    def _know(self, info: ServerInfo) -> None:
        self.session.state.info = info
        self._plan(_CHECK_SECONDS)
        self._pause = _FIRST_PAUSE

    def _plan(self, seconds: float) -> None:
        self._next_check = time.monotonic() + seconds

    def _show_lost(self, seconds: float) -> None:
        text = _("{url} is not reachable: trying again in {seconds:.0f} s. Your case stays as it is.")
        self._show(Light.LOST, text.format(url=self.session.url, seconds=max(seconds, 0.0)))

    def _show(self, light: Light, text: str) -> None:
        if (light, text) != (self.light, self.text):
            self.light, self.text = light, text
            self.changed.emit()


def _server(url: str, token: str) -> dict[str, str]:
    """Return what a request is told of a server, its address as the request would write it."""
    url = url.strip() or settings.DEFAULTS["serverUrl"]
    with contextlib.suppress(ServerError):  # the request says what is wrong with it
        url = Client(url).url
    return {"url": url, "token": token}


def _describe(answer: dict[str, Any], token: str) -> str:
    """Return the server's name, version and address, and who we are to it by the token."""
    info, who = parse_info(answer["info"], answer.get("who")), answer.get("who") or {}
    server = f"{info.name} {info.version}".strip() + f" ({answer['url']})"
    if not (token and who.get("username")):
        return server
    roles = ", ".join(who.get("roles") or ())
    return _("{server} as {name}, {roles}").format(server=server, name=who["username"], roles=roles)


def _other_server(info: ServerInfo) -> str:
    """Return what to do about a MONAI Label server that is none of ours; an empty text for one of ours."""
    if not info.models or any(model.head for model in info.models.values()):
        return ""
    return _(
        "This MONAI Label server has no models that know where they are unsure:"
        " start one with `uncertaintyseg serve --studies DIR`."
    )


def _warning(info: ServerInfo) -> str:
    """Return what the user should know of a server that is not quite ours, or an empty text."""
    if other := _other_server(info):
        return other
    if info.version.split(".")[:2] != __version__.split(".")[:2]:
        text = _("The server is version {server}, this module is {module}: if something is missing, update the older.")
        return text.format(server=info.version or "?", module=__version__)
    if info.failing:
        text = _("{device} of the server fails, so it may be slower: tell whoever runs it that its log says why.")
        return text.format(device=", ".join(info.failing))
    return ""
