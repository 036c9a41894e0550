"""A model of 117 structures on the server: what it says of itself, and which segments of others are its labels."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import many
from uncertaintyseg.data import anatomy


@pytest.fixture(scope="module")
def match(anatomic):
    def ask(parts: list[dict], model: str = "organs_deterministic") -> dict:
        reply = anatomic.http.post("/uncertainty/v1/match", json={"model": model, "parts": parts})
        assert reply.status_code == 200, reply.text
        return reply.json()

    return ask


def test_segments_are_matched_by_code_and_side_then_by_name(match):
    parts = [
        {"key": "a", "name": "Niere", "snomed": "64033007", "modifier": anatomy.LEFT},
        {"key": "b", "name": "Right Kidney (CT)"},
        {"key": "c", "name": "stent"},
        {"key": "d", "name": "rib_left_1"},
    ]
    answer = match(parts)
    assert answer["matched"] == {"a": 3, "b": 2}
    assert answer["unmatched"] == [
        {"key": "c", "models": []},
        {"key": "d", "models": ["body_deterministic"]},
    ]


def test_a_whole_totalsegmentator_label_is_matched(match, shared_data):
    label = nib.load(shared_data / "totalsegmentator_examples" / many.LABEL)
    present = [int(value) for value in np.unique(np.asarray(label.dataobj)) if value]
    assert len(present) == 61
    names = dict(enumerate(many.names(), start=1))
    answer = match([{"key": f"Segment_{i}", "name": names[i]} for i in present], "body_deterministic")
    assert answer == {"matched": {f"Segment_{i}": i for i in present}, "unmatched": []}


def test_what_cannot_be_matched_is_said(anatomic):
    def refused(**asked) -> str:
        reply = anatomic.http.post("/uncertainty/v1/match", json=asked)
        assert 400 <= reply.status_code < 500
        return reply.text

    part = {"key": "a", "name": "liver"}
    assert "same key" in refused(model="organs_deterministic", parts=[part, part])
    assert "nobody" in refused(model="nobody", parts=[part])
    assert "parts" in refused(model="organs_deterministic", parts=[{"key": "a"}])


def test_what_the_server_says_of_itself_stays_small(anatomic):
    reply = anatomic.http.get("/info/")
    model = reply.json()["models"]["body_deterministic"]
    assert model["labels"] == {name: i for i, name in enumerate(many.names(), start=1)}  # as stock clients need it
    assert [(label["id"], label["name"]) for label in model["label_details"]][:1] == [(1, many.names()[0])]
    assert model["maps"][-3:] == ["error_probability", "probability_*", "variance_*"]
    assert len(json.dumps(model)) < 30_000  # with its names as choices of two settings
