"""What the server found is completed by what only the segmentation knows."""

from __future__ import annotations

from UncertaintySegLib.logic.matching import proposal
from UncertaintySegLib.scene.intake_labels import Part
from UncertaintySegLib.server.replies import Label, Model

MODEL = Model("organs", (Label(1, "left kidney"), Label(2, "right kidney"), Label(3, "liver")))


def test_what_the_server_found_counts_and_it_says_who_knows_the_rest():
    parts = [Part("a", "Leber"), Part("b", "aorta"), Part("c", "stent")]
    found = proposal(parts, MODEL, {"a": 3}, {"b": ("total",), "c": ()})
    assert found.labels == {"a": 3, "b": None, "c": None}
    assert found.knowing == {"b": ("total",), "c": ()}
    assert not found.by_number


def test_the_name_counts_more_than_the_number_it_once_had():
    parts = [
        Part("a", "liver", label_id=1),
        Part("b", "renamed", label_id=2),
        Part("c", "another model's", label_id=9),
    ]
    found = proposal(parts, MODEL, {"a": 3}, {"b": ("total",), "c": ()})
    assert found.labels == {"a": 3, "b": 2, "c": None}
    assert found.knowing == {"c": ()}


def test_numbers_count_only_where_there_is_no_name():
    parts = [Part("1", "label 1", value=1), Part("9", "Segment_9", value=9)]
    found = proposal(parts, MODEL, {}, {})
    assert found.labels == {"1": 1, "9": None}
    assert found.by_number
    for name in ("stent", "vertebra L1"):
        named = proposal([*parts, Part("3", name, value=3)], MODEL, {}, {})
        assert not any(named.labels.values())
        assert not named.by_number


def test_who_did_not_answer_is_said():
    assert proposal([Part("a", "liver")], MODEL, {}, {}, "silence").problem == "silence"
