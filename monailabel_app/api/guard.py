"""Only this machine may talk to the server, and no web page from elsewhere through its browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.preflight import is_loopback


class LoopbackGuard:
    """ASGI middleware: 403 unless client address, Host header and Origin are loopback.

    MONAI Label listens on all interfaces by default and lets any origin read its answers; this version has no log-in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] != "http" or _is_local(scope):
            await self.app(scope, receive, send)
        else:
            detail = (
                "this version serves loopback only: connect to http://127.0.0.1 on the server, or through an SSH tunnel"
            )
            await JSONResponse({"detail": detail}, 403)(scope, receive, send)


def _is_local(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    client = scope["client"]
    return (
        (client is None or is_loopback(client[0]))
        and _names_loopback(f"//{headers.get('host', '')}")
        and (origin is None or _names_loopback(origin))
    )


def _names_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
