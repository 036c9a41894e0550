"""Schema-driven and property-based requests to every route: none is answered as a bug."""

from __future__ import annotations

import time
from collections import Counter
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from Testing.Python.monailabel_app import fuzzing
from Testing.Python.servers import SERVE

HIDDEN = {  # include_in_schema=False, or whatever path they are given
    "/reload",
    "/",
    "/docs",
    "/favicon.ico",
    "/openapi.json",
    "/ohif/{text}",
    "/static/{text}",
    "/proxy/dicom/{text}",
    "/train/{text}",
    "/infer/wsi/{text}",
    "/infer/wsi_v2/{text}",
    "/model/{text}",
    "/datastore/",
    "/datastore/updatelabelinfo",
    "/uncertainty/v1/{text}",
    "/{text}",
}
METHODS = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"]
TEXTS = st.one_of(st.text(max_size=80), st.from_regex(r"(\.\./|/|%2e%2e%2f){1,9}[a-z./]{0,30}", fullmatch=True))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def tiny_server(launch, tmp_path_factory):
    options, scans = fuzzing.tiny_world(tmp_path_factory.mktemp("tiny"))
    return launch([*SERVE, *options], scans)


def test_every_operation_of_the_schema(tiny_server, quick, record_property):
    operations, known = fuzzing.operations(tiny_server), fuzzing.known_things(tiny_server)
    examples = 5 if quick else 200
    started = time.monotonic()
    answers = sum((fuzzing.fuzz(tiny_server, op, known, examples) for op in operations.values()), Counter())
    seconds = time.monotonic() - started
    record_property("operations of the schema", f"{len(operations)}, up to {examples} requests each, {seconds:.0f} s")
    record_property("answers by status", ", ".join(f"{n} x {status}" for status, n in sorted(answers.items())))


@pytest.mark.parametrize("path", sorted(HIDDEN))
def test_routes_outside_the_schema(tiny_server, path, quick):
    send = settings(
        max_examples=5 if quick else 100,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )(given(st.sampled_from(METHODS), TEXTS, JSON)(_request))
    send(tiny_server, path)


def _request(server, path: str, method: str, text: str, body) -> None:
    url = server.url + path.replace("{text}", quote(text.encode("utf-8", "replace"), safe="/%"))
    try:
        answer = httpx.request(method, url, json=body, timeout=fuzzing.SECONDS)
    except (httpx.InvalidURL, ValueError):  # JSON has no NaN, a URL no NUL
        return
    assert answer.status_code < 500, f"{method} {url} {body}: {answer.text}"


def test_it_still_works_afterwards(tiny_server):
    assert tiny_server.http.get("/info/").status_code == 200
    image = tiny_server.images()[0]
    assert tiny_server.infer("tiny_low_rank", image, seed=99)["state"] == "done"
