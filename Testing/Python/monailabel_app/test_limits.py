"""A request may be as large as its route needs: a few kB before a log-in, the upload limit where files come in."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from monailabel_app.access import Access
from monailabel_app.api import limits
from monailabel_app.api.limits import JSON, SMALL, STROKES, BodyLimits, body_limit
from monailabel_app.api.roles import RULES
from monailabel_app.app.conditioning import STROKES as VOXELS

UPLOAD = 10_000_000
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
LIMITS = {
    ("POST", "/auth/token"): SMALL,
    ("GET", "/info/"): SMALL,
    ("DELETE", "/datastore/label"): SMALL,
    ("POST", "/uncertainty/v1/jobs"): JSON,
    ("PUT", "/datastore/image/info"): JSON,
    ("POST", "/uncertainty/v1/results/a/condition"): STROKES,
    ("POST", "/infer/a"): UPLOAD,
    ("PUT", "/datastore/label"): UPLOAD,
}


async def _count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def ask(method: str, path: str, size: int, *, chunked: bool = False, **headers: str) -> httpx.Response:
    """One request with so many bytes, told beforehand or not, to an app behind the limits."""
    inner = Starlette()
    inner.router.default = _answer
    app = BodyLimits(inner, Access(max_upload_mb=UPLOAD / 1e6))

    async def pieces():
        for start in range(0, size, 1 << 16):
            yield bytes(min(1 << 16, size - start))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
            content = pieces() if chunked else bytes(size)
            return await http.request(method, f"http://127.0.0.1{path}", content=content, headers={**FORM, **headers})

    return asyncio.run(send())


async def _answer(scope, receive, send) -> None:
    await (await _count(Request(scope, receive)))(scope, receive, send)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("method", "path"), LIMITS)
def test_a_body_is_taken_up_to_the_limit_of_its_route_and_not_beyond(method, path, chunked):
    limit = LIMITS[method, path]
    assert ask(method, path, limit, chunked=chunked).text == str(limit)
    assert ask(method, path, limit + 1, chunked=chunked).status_code == 413


@pytest.mark.parametrize("path", ["/infer/a", "/datastore/label"])
def test_what_brings_no_file_does_not_get_the_limit_of_files(path):
    method = "POST" if path == "/infer/a" else "PUT"
    answer = ask(method, path, STROKES + 1, **{"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["9" * 400, "8001"])
def test_a_length_above_the_limit_is_refused_before_the_body_is_read(length):
    answer = ask("POST", "/auth/token", 0, **{"Content-Length": length})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "more than 8 kB in one request, which is all that this route takes"


def test_the_answer_about_a_file_names_the_option():
    assert "--max-upload-mb" in ask("PUT", "/datastore/image", UPLOAD + 1).json()["detail"]


def test_every_row_of_the_limits_is_a_route():
    routes = {f"{rule.method} {rule.path}" for rule in RULES}
    assert not {*limits._UPLOADS, *limits._STROKES} - routes


def test_before_a_log_in_a_few_kb_are_all_and_no_route_takes_more_than_an_upload():
    for rule in RULES:
        limit = body_limit(rule, Headers(FORM), UPLOAD)
        assert limit <= (SMALL if rule.role is None else UPLOAD), rule
    assert SMALL <= 10_000


def test_strokes_of_as_many_voxels_as_a_request_may_hold_fit():
    body = json.dumps({"scribbles": {"background": [[1023, 1023, 2047]] * VOXELS}})
    assert len(body) < STROKES
