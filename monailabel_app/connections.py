"""Clients that send slowly, or half: time limits on connections that uvicorn has not, around its own protocol."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any, ClassVar

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from monailabel_app.access import Access, in_words, warnings

logger = logging.getLogger(__name__)

CONNECTIONS = 500
"""Open at a time; most systems let a process have 1024 files."""
RATE = 4096
"""Bytes a second that the body of a request must come in with on average."""
_HEADER_BYTES = 2**16
"""Of a request line and its header; not all of uvicorn's protocols have a limit."""
_SOON = 0.02
_LOOKS = 8
"""How often a limit is looked at while it runs."""


def running_server() -> uvicorn.Server | None:
    """The uvicorn server of this process, which owns its signal handlers; None where another program serves the app."""
    owner = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return owner if isinstance(owner, uvicorn.Server) else None


def take_hold(server: uvicorn.Server, access: Access) -> None:
    """Put the limits into a server that has read its configuration and does not listen yet.

    Without `--behind-proxy` it also stops believing what a client says of its own address.
    """
    config = server.config
    config.http_protocol_class = patient(config.http_protocol_class, access.patience)
    if not access.behind_proxy and isinstance(config.loaded_app, ProxyHeadersMiddleware):
        config.loaded_app = config.loaded_app.app


async def announce(server: uvicorn.Server, access: Access) -> None:
    """Once it listens, say where, who may use it, where the audit log is and what is unsafe."""
    while not server.started:
        await asyncio.sleep(_SOON)
    config = server.config
    host = f"[{config.host}]" if ":" in config.host else config.host
    lines = [f"listening on {'https' if config.is_ssl else 'http'}://{host}:{config.port}", *in_words(access)]
    lines += [f"warning: {text}" for text in warnings(config.host, access)]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - what an engineer looks for first


def patient(protocol: type[asyncio.Protocol], seconds: float) -> type[asyncio.Protocol]:
    """One of uvicorn's HTTP protocols with a limit on how long its clients may take."""
    return type("Patient", (_Patient, protocol), {"seconds": seconds})


class _Patient:
    """Closes a connection when its client is late.

    A header must be whole `seconds` after the connection is free for it, and so must the rest of a request that has
    been answered already. A header has `_HEADER_BYTES` at most. A body may not pause for so long, nor come in slower
    than `RATE`. An answer must be taken. While the app itself takes its time nothing is counted.
    """

    seconds: ClassVar[float]

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._seen: Any = (self.cycle, self.state)
        self._blocked: float | None = None
        self._header = 0  # bytes of one that is not whole yet
        self._begin()
        self._look_later()
        if len(self.connections) > CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._last = self.loop.time()
        was = self.state
        super().data_received(data)
        self._header = self._header + len(data) if was == self.state == "header" else 0
        if self._header > _HEADER_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        self._blocked = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._blocked = None
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    @property
    def state(self) -> str:
        """What the connection waits for: "header", "body", "rest" of a body that is answered already, or "app"."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body:
            return "rest" if cycle.response_complete else "body"
        return "header" if cycle is None or cycle.response_complete else "app"

    def _begin(self) -> None:
        self.began = self._last = self.loop.time()
        self._bytes = 0

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.seconds / _LOOKS, self._look_at)

    def _look_at(self) -> None:
        if (seen := (self.cycle, self.state)) != self._seen:
            self._seen = seen
            self._begin()
        elif self.flow.read_paused:  # it is the app that does not read
            self.began += self.seconds / _LOOKS
            self._last = self.loop.time()
        if self._is_late():
            self.transport.abort()
        else:
            self._look_later()

    def _is_late(self) -> bool:
        now = self.loop.time()
        taken, state = now - self.began, self.state
        if self._blocked is not None and now - self._blocked > self.seconds:
            return True
        if state == "body":
            return now - self._last > self.seconds or taken > self.seconds + self._bytes / RATE
        return state != "app" and taken > self.seconds

    def _make_room(self) -> None:
        """End the connection that has waited longest for a header: this one, where all others are at work."""
        waiting = [other for other in self.connections if isinstance(other, _Patient) and other.state == "header"]
        oldest = min(waiting, key=lambda other: other.began)
        oldest.transport.abort()
        logger.warning("more than %d connections: one that sent no request was closed", CONNECTIONS)
