from __future__ import annotations

from UncertaintySegLib.logic.intake import match
from UncertaintySegLib.scene.intake_labels import Part
from UncertaintySegLib.server.replies import Label

LABELS = (Label(1, "left kidney"), Label(2, "Right-Kidney"), Label(3, "liver", None, "10200004"))


def test_names_match_by_their_words_in_any_order():
    parts = [Part("a", "kidney_left"), Part("b", "KIDNEY (right)"), Part("c", "spleen")]
    assert match(parts, LABELS) == {"a": 1, "b": 2, "c": None}


def test_a_code_matches_where_the_name_does_not():
    assert match([Part("a", "Leber", "10200004")], LABELS) == {"a": 3}


def test_a_code_that_two_segments_have_decides_nothing():
    parts = [Part("a", "Leber links", "10200004"), Part("b", "Leber rechts", "10200004")]
    assert match(parts, LABELS) == {"a": None, "b": None}


def test_the_name_counts_more_than_the_number_it_once_had():
    assert match([Part("a", "liver", label_id=1), Part("b", "renamed", label_id=2)], LABELS) == {"a": 3, "b": 2}


def test_values_of_a_label_map_count_only_where_no_name_does():
    assert match([Part("1", "label 1"), Part("9", "label 9")], LABELS, is_label_map=True) == {"1": 1, "9": None}
    assert match([Part("1", "liver"), Part("2", "label 2")], LABELS, is_label_map=True) == {"1": 3, "2": None}
    assert match([Part("1", "Segment_1")], LABELS) == {"1": None}
