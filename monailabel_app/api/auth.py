"""Log-in by token: who asks, whether the route is theirs, and the same for MONAI Label's own clients."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from starlette.datastructures import Headers, State
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.access import Access
from monailabel_app.api.audit import audit, caller
from monailabel_app.api.roles import rules_of
from monailabel_app.errors import ForbiddenError
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.tokens import Identity, Role

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Auth"])

LOCAL = Identity("local", Role.admin)
"""Whoever works on this machine while the server has no tokens."""

_PAUSE_SECONDS = 0.5  # before a wrong token is answered
_WINDOW_SECONDS = 60.0
_WRONG_TOKENS = 10  # from one address within the window, before it is told to wait
_ADDRESSES = 1000  # remembered at a time

_HOW = "send `Authorization: Bearer TOKEN`; whoever runs the server makes tokens with `uncertaintyseg token NAME`"


def require(role: Role) -> Callable[[], None]:
    """Return a dependency (or a check to call) that raises `ForbiddenError` unless the caller has the role.

    For what the route alone does not tell, such as the kind of a job; routes have their row in `roles`.
    """

    def check() -> None:
        identity, _ = caller.get()
        if identity.role < role:
            raise ForbiddenError(_needs(identity, role))

    return check


def acting_as(client_id: object) -> str:
    """Return the name of who asks: that of the token, or where nobody logs in what the client calls itself."""
    identity, _ = caller.get()
    return client_id if identity == LOCAL and isinstance(client_id, str) and client_id else identity.name


class Gate:
    """Tells who a token belongs to, and slows down those who guess.

    A right token is always let in, however many wrong ones came from the same address.
    """

    def __init__(self, access: Access) -> None:
        self._tokens = access.tokens()
        self.closed = access.needs_login
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    async def admit(self, token: str | None, address: str) -> Identity | Response:
        """Return the identity, or the answer for whom there is none."""
        if not self.closed:
            return LOCAL
        if not token:
            return _refusal(401, f"log in first: {_HOW}", {"WWW-Authenticate": "Bearer"})
        try:
            identity = self._tokens.find(token)
        except UncertaintySegError:
            logger.exception("nobody can log in")
            return _refusal(503, "the server cannot read its tokens now; its log says why")
        return identity or await self._turn_away(address)

    async def _turn_away(self, address: str) -> Response:
        now = time.monotonic()
        times = self._wrong.setdefault(address, deque(maxlen=_WRONG_TOKENS))
        self._wrong.move_to_end(address)
        if len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        if len(times) == _WRONG_TOKENS and now - times[0] < _WINDOW_SECONDS:
            wait = {"Retry-After": str(int(_WINDOW_SECONDS))}
            return _refusal(429, "too many wrong tokens from your address: wait a minute, or use the right one", wait)
        times.append(now)
        try:
            await asyncio.to_thread(audit, "login_failed", address=address)
        except UncertaintySegError:
            logger.exception("a wrong token from %s could not be noted", address)
        await asyncio.sleep(_PAUSE_SECONDS)
        return _refusal(401, f"no such token: {_HOW}", {"WWW-Authenticate": "Bearer"})


class Login:
    """ASGI middleware: every request has an identity with the role that its route needs, or is refused."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the identity into `request.state.identity`, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        address = scope["client"][0] if scope["client"] else ""
        answer = await self._identify(scope, address)
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        scope.setdefault("state", State())["identity"] = answer
        before = caller.set((answer, address))
        try:
            await self.app(scope, receive, send)
        finally:
            caller.reset(before)

    async def _identify(self, scope: Scope, address: str) -> Identity | Response:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        rules = rules_of(path)
        rule = rules.get(method)
        if rule is not None and rule.role is None:
            return Identity("", Role.viewer)
        identity = await self._gate.admit(_bearer(scope), address)
        if isinstance(identity, Response):
            return identity
        if not rules:
            return _refusal(404, f"{path[:200]}: this server has no such route, or none that anyone may use")
        if rule is None:
            return _refusal(405, f"{method} is not a method of this route", {"Allow": ", ".join(rules)})
        return identity if identity.role >= rule.role else _refusal(403, _needs(identity, rule.role))


@router.get("/auth/", summary="Whether clients must log in")
def enabled(request: Request) -> dict[str, Any]:
    """In the words of MONAI Label's clients, which then ask for a user name and a password."""
    return {"enabled": request.app.state.gate.closed, "client_id": "", "realm": ""}


@router.post("/auth/token", summary="Log in with a token as the password", response_model=None)
async def token(request: Request, password: Annotated[str, Form()]) -> Response:
    """Check a token, and answer with it as MONAI Label's clients expect; the user name does not matter."""
    identity = await request.app.state.gate.admit(password, request.client.host if request.client else "")
    if isinstance(identity, Response):
        return identity
    return JSONResponse({"access_token": password, "token_type": "Bearer"})


@router.get("/auth/token/valid", summary="Who the token belongs to")
def who(request: Request) -> dict[str, Any]:
    """Name and role."""
    identity: Identity = request.state.identity
    return {"username": identity.name, "roles": [identity.role.name]}


@router.get("/uncertainty/v1/health", summary="Whether the server answers")
async def health() -> dict[str, str]:
    """For supervisors, which have no token; says nothing else."""
    return {"status": "ok"}


def _bearer(scope: Scope) -> str | None:
    scheme, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _needs(identity: Identity, role: Role) -> str:
    return f"{identity.name} is {identity.role.name}, this needs {role.name}: ask whoever runs the server for the role"


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers=headers)
