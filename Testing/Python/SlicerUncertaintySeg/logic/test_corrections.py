"""Clicks as the server takes them, and back, on a left-handed oblique grid."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.logic import corrections

CLICKS = {
    "organ": [[20, 12, 6], [3, 4, 5]],
    "background": [[0, 0, 0]],
    "scribbles": {"lesion": [[10, 10, 10], [11, 10, 10], [12, 11, 10], [30, 30, 12], [31, 30, 12]]},
}


def test_there_and_back_they_are_the_same(shown_case, phantom_case):
    marks = corrections.to_marks(CLICKS, phantom_case.labels, shown_case.scan)
    assert sorted((mark.label_id, mark.is_stroke, len(mark.points)) for mark in marks) == [
        (0, False, 1),
        (1, False, 2),
        (2, True, 2),
        (2, True, 3),
    ]
    assert corrections.to_json(marks, phantom_case.labels, shown_case.scan) == CLICKS


def test_no_clicks_are_nothing(shown_case, phantom_case):
    assert corrections.to_marks({}, phantom_case.labels, shown_case.scan) == ()
    assert corrections.to_json((), phantom_case.labels, shown_case.scan) == {}


def test_what_the_model_does_not_have_is_left_out(shown_case, phantom_case):
    assert corrections.to_marks({"kidney": [[1, 2, 3]]}, phantom_case.labels, shown_case.scan) == ()
