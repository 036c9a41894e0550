"""No request that the schema allows or forbids is answered as a bug; `make proof` sends many more."""

from __future__ import annotations

from collections import Counter

import pytest

from Testing.Python.monailabel_app import fuzzing
from Testing.Python.servers import SERVE


@pytest.fixture(scope="module")
def tiny_server(launch, tmp_path_factory):
    options, scans = fuzzing.tiny_world(tmp_path_factory.mktemp("tiny"))
    return launch([*SERVE, *options], scans)


def test_no_request_made_from_the_schema_is_answered_with_500(tiny_server):
    operations, known = fuzzing.operations(tiny_server), fuzzing.known_things(tiny_server)
    assert {"GET /info/", "POST /infer/{model}", "PUT /datastore/label"} <= set(operations)
    answers = sum((fuzzing.fuzz(tiny_server, op, known, examples=4) for op in operations.values()), Counter())
    assert answers[200] > 20, "it got past the checks"
