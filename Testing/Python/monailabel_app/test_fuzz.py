"""No request that the schema allows or forbids is answered as a bug; `make proof` sends many more."""

from __future__ import annotations

from collections import Counter

from Testing.Python.monailabel_app import fuzzing


def test_no_request_made_from_the_schema_is_answered_with_500(watched):
    operations, known = fuzzing.operations(watched), fuzzing.known_things(watched)
    assert {"GET /info/", "POST /infer/{model}", "PUT /datastore/label"} <= set(operations)
    answers = sum((fuzzing.fuzz(watched, op, known, examples=4) for op in operations.values()), Counter())
    assert answers[200] > 20, "it got past the checks"
    assert watched.guard.read_text(encoding="utf-8") == "", "nor did anything reach a native reader"
