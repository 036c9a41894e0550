"""Log-in: who gets in, what they may do, and how guessing is slowed."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monailabel_app.access import Access
from monailabel_app.api import audit, auth
from monailabel_app.errors import ForbiddenError
from monailabel_app.store.records import Records
from uncertaintyseg.tokens import Role, add_token

FAR = "192.0.2.7"


@pytest.fixture
def log(tmp_path, monkeypatch) -> Iterator[Records]:
    """An audit trail of this test's own."""
    records = Records(tmp_path / "studies.sqlite")
    app = SimpleNamespace(datastore=lambda: SimpleNamespace(store=records))
    monkeypatch.setattr(audit, "running_app", lambda: app)
    yield records
    records.close()


@pytest.fixture
def tokens(tmp_path) -> dict[Role, str]:
    return {role: add_token(tmp_path / "tokens", role.name, role) for role in Role}


@pytest.fixture
def ask(tmp_path, tokens, log, monkeypatch):
    """Requests to an app behind the log-in, `ask(path, token, method, address)`."""
    monkeypatch.setattr(auth, "_PAUSE_SECONDS", 0.01)

    def who(request: Request) -> Response:
        for role in Role:
            try:
                auth.require(role)()
            except ForbiddenError:
                break
            most = role.name
        return JSONResponse({"name": request.state.identity.name, "may": most})

    inner = Starlette(routes=[Route("/{path:path}", who, methods=["GET", "PUT", "POST", "DELETE", "PATCH"])])
    app = auth.Login(inner, auth.Gate(Access(token_file=tmp_path / "tokens")))

    def ask(
        path: str, token: str | None = None, method: str = "GET", address: str = "192.0.2.7", **options
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(address, 5000))
            async with httpx.AsyncClient(transport=transport, base_url="https://seg.example.org") as http:
                return await http.request(method, path, headers={**headers, **options})

        return asyncio.run(send())

    return ask


def test_a_token_says_who_asks_and_what_they_may(ask, tokens):
    for role, token in tokens.items():
        assert ask("/info/", token).json() == {"name": role.name, "may": role.name}


def test_without_tokens_everyone_is_local_and_admin():
    gate = auth.Gate(Access())
    assert asyncio.run(gate.admit(None, "127.0.0.1")) == auth.LOCAL
    assert auth.LOCAL.role is Role.admin


def test_no_token_is_answered_with_the_way_in(ask):
    answer = ask("/info/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_a_role_that_is_too_small_is_told_which_it_takes(ask, tokens):
    answer = ask("/datastore/label?image=a", tokens[Role.viewer], "PUT")
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("viewer is viewer, this needs annotator")
    assert ask("/datastore/label?image=a", tokens[Role.annotator], "PUT").status_code == 200
    assert ask("/train/x", tokens[Role.annotator], "POST").status_code == 403
    assert ask("/train/x", tokens[Role.trainer], "POST").status_code == 200
    assert ask("/logs/", tokens[Role.trainer]).status_code == 403
    assert ask("/logs/", tokens[Role.admin]).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_a_route_without_a_role_serves_nobody(ask, tokens, method):
    for path in ("/uncertainty/v1/new", "/infer", "/info/x", "/datastore/../logs/x", "/model/a/b"):
        assert ask(path, tokens[Role.admin], method).status_code == 404
    answer = ask("/info/", tokens[Role.admin], "PATCH")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["PUT", "POST", "DELETE"]), path=st.text(max_size=40))
def test_no_path_lets_a_viewer_change_anything(ask, tokens, method, path):
    answer = ask(f"/{quote(path, safe='/')}", tokens[Role.viewer], method)
    assert answer.status_code in (403, 404, 405)


@pytest.mark.parametrize("header", ["Basic {}", "Token {}", "bearer", "{}", "Bearer {} x", "Bearer  "])
def test_only_a_bearer_token_counts(ask, tokens, header):
    answer = ask("/info/", Authorization=header.format(tokens[Role.admin]))
    assert answer.status_code == 401


@pytest.mark.parametrize("place", ["/info/?token={}", "/info/?access_token={}", "/info/?authorization=Bearer%20{}"])
def test_promise_5_a_token_in_an_url_does_not_count(ask, tokens, place):
    assert ask(place.format(tokens[Role.admin])).status_code == 401
    assert ask("/info/", Cookie=f"token={tokens[Role.admin]}").status_code == 401


def test_health_and_the_question_for_a_log_in_need_no_token(ask):
    assert ask("/uncertainty/v1/health").status_code == 200
    assert ask("/auth/").status_code == 200


def test_wrong_tokens_are_noted_slowed_and_never_lock_the_right_one_out(ask, tokens, log):
    for _ in range(auth._WRONG_TOKENS):
        assert ask("/info/", "guess").status_code == 401
    answer = ask("/info/", "guess")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert ask("/info/", tokens[Role.viewer]).status_code == 200
    assert ask("/info/", "guess", address="192.0.2.8").status_code == 401
    noted = log.last_audit(100)
    assert [(line["event"], line["address"]) for line in noted[-2:]] == [("login_failed", "192.0.2.7")] * 2
    assert len(noted) == auth._WRONG_TOKENS + 1
    assert "guess" not in json.dumps(noted)


def test_addresses_of_guessers_are_not_remembered_without_end(tmp_path, tokens, log, monkeypatch):
    monkeypatch.setattr(auth, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(auth, "_ADDRESSES", 5)
    gate = auth.Gate(Access(token_file=tmp_path / "tokens"))

    async def guess() -> None:
        for number in range(20):
            await gate.admit("guess", f"192.0.2.{number}")

    asyncio.run(guess())
    assert len(gate._wrong) == 5


def test_promise_5_every_token_is_compared_in_constant_time_and_to_the_end(tmp_path, tokens, monkeypatch):
    compared = []

    def compare(known: str, digest: str) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, digest)

    monkeypatch.setattr("uncertaintyseg.tokens.hmac", SimpleNamespace(compare_digest=compare))
    book = Access(token_file=tmp_path / "tokens").tokens()
    for token in [*tokens.values(), "wrong"]:
        compared.clear()
        book.find(token)
        assert len(compared) == len(tokens)


def test_a_token_file_that_vanishes_closes_the_server(ask, tokens, tmp_path):
    (tmp_path / "tokens").unlink()
    answer = ask("/info/", tokens[Role.admin])
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
