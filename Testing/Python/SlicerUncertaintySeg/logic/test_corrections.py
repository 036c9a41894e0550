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


def test_of_marks_on_one_voxel_the_last_counts_whatever_it_is(shown_case, phantom_case):
    """As in drawing; the server would refuse a voxel that is said to be two things."""
    marks = corrections.to_marks(CLICKS, phantom_case.labels, shown_case.scan)
    over = {"background": [[20, 12, 6]], "scribbles": {"organ": [[11, 10, 10], [12, 11, 10]]}}
    later = corrections.to_marks(over, phantom_case.labels, shown_case.scan)
    assert corrections.to_json((*marks, *later), phantom_case.labels, shown_case.scan) == {
        "organ": [[3, 4, 5]],
        "background": [[0, 0, 0], [20, 12, 6]],
        "scribbles": {"lesion": [[10, 10, 10], [30, 30, 12], [31, 30, 12]], "organ": [[11, 10, 10], [12, 11, 10]]},
    }
    organ = next(mark for mark in marks if mark.label_id == 1)
    assert corrections.to_json((*later[:1], organ), phantom_case.labels, shown_case.scan) == {
        "organ": [[20, 12, 6], [3, 4, 5]]
    }
