"""What is written as JSON can be read back by any reader; what could not be is refused before it is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monailabel_app.store import strict
from uncertaintyseg.errors import InputError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(plain)
def test_what_is_written_is_read_back_as_it_was(value):
    assert strict.read(strict.write(value, "info"), "info") == value


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"a": {"b": ["\ud800"]}}, r"info\.a\.b\[0\]: half of a character"),
        ({"\udfff": 1}, "half of a character"),
        ({"a": float("nan")}, r"info\.a: nan is no number"),
        ({"a": -float("inf")}, "-inf is no number"),
        ({"a": 2**63}, "more than 64 bits"),
        (nested(strict.DEPTH + 1), "deeper than 32"),
        ({1: 2}, "a key is int"),
        ({"a": b"bytes"}, "bytes is no kind of JSON"),
    ],
)
def test_what_no_reader_could_read_back_is_not_written(value, word):
    with pytest.raises(InputError, match=word):
        strict.write(value, "info")


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": 9223372036854775808}',
        "[" * 100_000,
        "{",
        b"\xff",
        "1" * 5000,
    ],
)
def test_what_could_not_be_written_is_not_read(text):
    with pytest.raises(InputError, match=r"^params"):
        strict.read(text, "params")


def test_as_deep_as_is_allowed_is_kept():
    assert json.loads(strict.write(nested(strict.DEPTH), "info")) == nested(strict.DEPTH)
