"""Host, Origin and clear text: what a request must pass before anything else looks at it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from monailabel_app.access import TOKENS_VARIABLE, Access
from monailabel_app.api.guard import Guard, SecurityHeaders

FAR = "192.0.2.7"
NAME = "seg.example.org"


def ask(
    access: Access, url: str = "http://127.0.0.1:8000/", client: str = "127.0.0.1", **headers: str
) -> httpx.Response:
    """One request to a guarded app, from an address."""
    inner = Starlette(routes=[Route("/", lambda _request: PlainTextResponse("in"))])
    app = SecurityHeaders(Guard(inner, access))

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 5000))
        async with httpx.AsyncClient(transport=transport) as http:
            return await http.get(url, headers=headers)

    return asyncio.run(get())


@pytest.fixture
def guarded(tmp_path) -> dict:
    return {"token_file": tmp_path / "tokens", "allowed_hosts": (NAME,)}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]:8000/"])
def test_without_tokens_this_machine_is_served(url):
    assert ask(Access(), url).text == "in"


@pytest.mark.parametrize("client", [FAR, "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "not-an-address"])
def test_promise_1_without_tokens_nobody_else_is(client):
    answer = ask(Access(), client=client)
    assert answer.status_code == 403
    assert "loopback only" in answer.json()["detail"]


def test_with_tokens_others_are_served_over_tls(guarded):
    assert ask(Access(**guarded), f"https://{NAME}/", FAR).text == "in"


def test_with_tokens_nothing_crosses_the_network_in_the_clear(guarded):
    answer = ask(Access(**guarded), f"http://{NAME}/", FAR)
    assert answer.status_code == 403
    assert "https" in answer.json()["detail"]
    assert ask(Access(**guarded, behind_proxy=True), f"http://{NAME}/", FAR).text == "in"
    assert ask(Access(**guarded), "http://127.0.0.1/").text == "in"  # through an SSH tunnel, say


@pytest.mark.parametrize("host", ["example.org", "seg.example.org.evil.example", "192.0.2.1", "[::2]", "", "[", "a b"])
@pytest.mark.parametrize("tokens", [False, True])
def test_a_name_that_is_not_ours_is_refused(guarded, host, tokens):
    access = Access(**guarded) if tokens else Access()
    answer = ask(access, "https://127.0.0.1/", Host=host)
    assert answer.status_code == 403
    assert "loopback" in answer.json()["detail"]


@pytest.mark.parametrize(
    "origin", ["https://example.org", "null", "http://localhost:3000", "http://127.0.0.1", "http://["]
)
def test_pages_of_others_are_refused_even_those_on_this_machine(origin):
    assert ask(Access(), Origin=origin).status_code == 403


def test_own_pages_and_named_ones_are_served(guarded):
    assert ask(Access(), Origin="http://127.0.0.1:8000").text == "in"
    viewer = Access(allow_origins=("https://ohif.example.org",))
    assert ask(viewer, Origin="https://ohif.example.org").text == "in"
    assert ask(viewer, Origin="https://ohif.example.org:444").status_code == 403
    assert ask(Access(**guarded), f"https://{NAME}:8443/", FAR, Origin=f"https://{NAME}:8443").text == "in"


def test_the_environment_alone_closes_the_gate(monkeypatch):
    monkeypatch.setenv(TOKENS_VARIABLE, f"anna viewer {'0' * 64}")
    assert ask(Access(), "http://127.0.0.1/", FAR).status_code == 403


def test_browsers_are_told_not_to_guess_frame_or_store():
    for answer in (ask(Access()), ask(Access(), client=FAR)):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers
    assert "max-age" in ask(Access(), "https://127.0.0.1/").headers["Strict-Transport-Security"]
