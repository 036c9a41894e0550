"""What the working point says, and what is promised there."""

from __future__ import annotations

import pytest

from Testing.Python.SlicerUncertaintySeg.review_curve import GUARANTEE, POINTS, a_result
from UncertaintySegLib.logic import selection as texts
from UncertaintySegLib.logic.selection import Selection


@pytest.fixture
def selection():
    chosen = Selection()
    chosen.take(a_result())
    return chosen


def test_it_starts_at_the_guaranteed_point(selection):
    assert selection.point.threshold == GUARANTEE.threshold
    assert selection.is_promised
    assert texts.sentence(selection) == (
        "Review 2 % of the voxels (2.00 mL, 7 regions): expected remaining error 1.2 % of the true volume [0.8, 1.9]."
    )
    assert texts.promise(selection) == f"Guarantee: {GUARANTEE.text}"
    assert texts.footnote(selection) == ""


def test_reviewing_more_keeps_the_promise_and_reviewing_less_does_not(selection):
    selection.move_to_threshold(0.1)
    assert selection.is_promised
    selection.move_to_threshold(0.35)
    assert not selection.is_promised
    assert texts.promise(selection).startswith("Not guaranteed here. Guaranteed at a threshold of 0.2: If every voxel")


def test_between_two_rows_it_says_where_it_counted(selection):
    selection.move_to_coverage(0.985)
    assert selection.point.threshold == pytest.approx(0.3)
    assert "(2.00 mL, 7 regions)" in texts.sentence(selection)
    assert texts.footnote(selection) == "Volume and regions are those at threshold 0.2."


@pytest.mark.parametrize("change", [{"guarantee": None}, {"risk_coverage": POINTS.uncalibrated}])
def test_uncalibrated_says_why_and_invents_nothing(change):
    selection = Selection()
    selection.take(a_result(guarantee_reason="The weights changed after the calibration.", **change))
    before = selection.point
    selection.move_to_error(0.001)
    selection.move_to_guarantee()
    assert selection.point == before
    assert texts.promise(selection) == "Uncalibrated: The weights changed after the calibration."
    assert "error" not in texts.sentence(selection)
    assert texts.chart(selection) is None, "its reason in words instead"
    selection.move_to_coverage(0.97)
    assert texts.sentence(selection) == "Review 3 % of the voxels (4.00 mL, 12 regions)."


def test_what_the_heading_says_already_is_not_said_again():
    selection = Selection()
    selection.take(a_result(guarantee=None, guarantee_reason="uncalibrated: run `uncertaintyseg calibrate M DATA`"))
    assert selection.reason == "Run `uncertaintyseg calibrate M DATA`"


def test_without_a_curve_there_is_no_point():
    selection = Selection()
    selection.take(a_result(risk_coverage=(), guarantee=None))
    assert selection.point is None
    assert selection.reason == "The server sent no risk-coverage curve."
    assert texts.sentence(selection) == texts.footnote(selection) == ""
    assert texts.chart(selection) is None


def test_a_further_result_keeps_the_threshold_and_another_case_does_not(selection):
    selection.move_to_threshold(0.35)
    selection.take(a_result())
    assert selection.point.threshold == 0.35
    selection.take(None)
    selection.take(a_result())
    assert selection.point.threshold == GUARANTEE.threshold
