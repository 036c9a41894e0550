"""What every request must pass before anything else: this server's names, known web pages, no clear text."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.access import Access
from monailabel_app.preflight import is_loopback

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: 403 for what only looks like a client of this server.

    Without tokens the client itself must be on this machine. MONAI Label alone listens on all interfaces and lets any
    web page read its answers.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if reason := self._stranger(scope, headers):
            await JSONResponse({"detail": reason}, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _stranger(self, scope: Scope, headers: Headers) -> str | None:
        access, client = self._access, scope["client"]
        local = client is None or is_loopback(client[0])
        if not access.needs_login and not local:
            return (
                "this server serves loopback only: connect to http://127.0.0.1 on it, or through an SSH tunnel; "
                "or start it with --token-file"
            )
        if access.needs_login and not (local or access.behind_proxy or scope["scheme"] == "https"):
            return "tokens and scans do not cross the network in the clear: use https"
        if not self._is_own(_hostname(f"//{headers.get('host', '')}")):
            return "the Host header names another server: use a loopback address or one given with --allowed-host"
        origin = headers.get("origin")
        if origin is not None and not self._may_ask(origin, headers["host"]):
            return (
                f"pages of {origin[:200]} may not use this server: beside its own pages, loopback or not, only those "
                "given with --allow-origin may"
            )
        return None

    def _is_own(self, hostname: str) -> bool:
        return is_loopback(hostname) or hostname in self._access.allowed_hosts

    def _may_ask(self, origin: str, host: str) -> bool:
        return (
            origin in self._access.allow_origins
            or _netloc(origin) == host
            or _hostname(origin) in self._access.allowed_hosts
        )


class SecurityHeaders:
    """ASGI middleware: headers that keep browsers from guessing types, framing pages and storing scans."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers that the answer does not set itself."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
