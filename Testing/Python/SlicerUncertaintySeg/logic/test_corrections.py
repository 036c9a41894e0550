"""Clicks as the server takes them, and back, on a left-handed oblique grid."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.logic import corrections

CLICKS = {
    "organ": [[20, 12, 6], [3, 4, 5]],
    "background": [[0, 0, 0]],
    "scribbles": {"lesion": [[10, 10, 10], [11, 10, 10], [12, 11, 10], [30, 30, 12], [31, 30, 12]]},
    "lassos": [{"structure": "lesion", "corners": [[20.5, 10, 8], [30, 10, 8], [30, 20.25, 8], [20.5, 20, 8]]}],
    "boxes": [{"structure": "organ", "first": [10, 9, 11], "last": [30, 35, 11]}],
}


def test_there_and_back_they_are_the_same(shown_case, phantom_case):
    marks = corrections.to_marks(CLICKS, phantom_case.labels, shown_case.scan)
    assert sorted((mark.label_id, mark.kind, len(mark.points)) for mark in marks) == [
        (0, "clicks", 1),
        (1, "box", 2),
        (1, "clicks", 2),
        (2, "lasso", 4),
        (2, "stroke", 2),
        (2, "stroke", 3),
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
        **{name: CLICKS[name] for name in ("lassos", "boxes")},
        "organ": [[3, 4, 5]],
        "background": [[0, 0, 0], [20, 12, 6]],
        "scribbles": {"lesion": [[10, 10, 10], [30, 30, 12], [31, 30, 12]], "organ": [[11, 10, 10], [12, 11, 10]]},
    }
    organ = next(mark for mark in marks if mark.label_id == 1)
    assert corrections.to_json((*later[:1], organ), phantom_case.labels, shown_case.scan) == {
        "organ": [[20, 12, 6], [3, 4, 5]]
    }


def test_what_was_done_to_the_marks_is_said_in_words(phantom_case):
    from UncertaintySegLib.scene.clicks import BOX, LASSO, POINTS, STROKE, Mark

    here, there, far = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)
    click, two = Mark(1, POINTS, (here,)), Mark(1, POINTS, (here, there))
    lasso, box = Mark(2, LASSO, (here, there, far)), Mark(2, BOX, (here, there))
    told = [
        ((), (click,), "click for organ"),
        ((click,), (two,), "click for organ"),
        ((), (two,), "click for organ and 1 more"),
        ((two,), (click,), "removal of click for organ"),
        ((two,), (Mark(1, POINTS, (here, far)),), "move of click for organ"),
        ((click,), (click, lasso), "lasso for lesion"),
        ((box,), (Mark(2, BOX, (here, far)),), "move of box for lesion"),
        ((click, box), (), "removal of box for lesion and 1 more"),
        ((), (Mark(0, STROKE, (here, there)),), "scribble for background"),
        ((click,), (click,), "click that was taken back at once"),
    ]
    assert [corrections.described(before, after, phantom_case.labels) for before, after, _text in told] == [
        text for _before, _after, text in told
    ]
