"""How large a request may be: by what its route needs, a few kB before a log-in."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitResponder
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.access import Access
from monailabel_app.api.roles import ANYONE, Rule, rules_of

SMALL = 8_000
"""Bytes of a request that brings nothing but names: before a log-in, and those that only ask or remove."""
JSON = 2_000_000
"""Bytes of a request whose body is JSON or a form without files. All of it is in memory, and read in one go."""
STROKES = 4_000_000
"""Bytes of one that brings corrections: 100 000 voxels, 17 bytes each, written with spaces."""
REPORT = 20_000_000
"""Bytes of one that brings a report for the archive."""

_REPORTS = ("POST /uncertainty/v1/cases/{image}/archive",)
_STROKES = ("POST /uncertainty/v1/results/{key}/condition", "POST /infer/{model}")
_UPLOADS = (
    "POST /infer/{model}",
    "POST /uncertainty/v1/results/{key}/review",
    "PUT /datastore/",
    "PUT /datastore/image",
    "PUT /datastore/label",
    "PUT /session/",
)
"""Routes that take files, in a multipart body: their parts are kept on disk as they come in."""

FORM = {"max_fields": 10, "max_part_size": STROKES}
"""Of the parts of a form that are no files: FastAPI holds them in memory."""


def body_limit(rule: Rule, headers: Headers, max_upload: int) -> int:
    """Bytes that the body of a request by this rule may have, `max_upload` where it brings files."""
    row = f"{rule.method} {rule.path}"
    if rule.role is ANYONE or rule.method in ("GET", "DELETE"):
        return SMALL
    if row in _UPLOADS and headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return max_upload
    if row in _REPORTS:
        return min(REPORT, max_upload)
    return STROKES if row in _STROKES else JSON


class BodyLimits:
    """ASGI middleware: 413 for a body above the limit of its route, by its length or while it comes in."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._max_upload = int(access.max_upload_mb * 1e6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its body until the limit, or refuse it."""
        limit = self._limit(scope) if scope["type"] == "http" else None
        if limit is None:
            await self.app(scope, receive, send)
        elif _length(scope) > limit:
            await too_large(limit, self._max_upload)(scope, receive, send)
        else:
            await RequestBodyLimitResponder(self.app, limit)(scope, receive, send)

    def _limit(self, scope: Scope) -> int | None:
        """None for what no rule allows, which is refused without reading it."""
        rules = rules_of(scope["path"].removeprefix(scope.get("root_path", "")))
        rule = rules.get("GET" if scope["method"] == "HEAD" else scope["method"])
        return None if rule is None else body_limit(rule, Headers(scope=scope), self._max_upload)


def too_large(limit: int, max_upload: int) -> JSONResponse:
    """Return the answer to a request with more bytes than its limit."""
    if limit == max_upload:
        detail = f"more than {limit / 1e6:g} MB in one request: crop or compress the scan or raise --max-upload-mb"
    else:
        detail = f"more than {limit / 1e3:g} kB in one request, which is all that this route takes"
    return JSONResponse({"detail": detail}, 413, headers={"Connection": "close"})


def _length(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0
