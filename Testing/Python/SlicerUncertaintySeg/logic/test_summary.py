"""The sentence on top, for every kind of result."""

from __future__ import annotations

import dataclasses

import pytest

from Testing.Python.SlicerUncertaintySeg.review_curve import GUARANTEE, POINTS, a_result
from UncertaintySegLib.logic.selection import Selection
from UncertaintySegLib.logic.summary import sentence
from UncertaintySegLib.server.results import Region, Structure

PROMISED = "promised: at most 5 % of the true volume stays wrong on average if you review as asked."
ONE = (Structure("left_kidney", 1, 150.0, expected_error_ml=2.345),)
TWO = (*ONE, Structure("liver", 2, 1500.0, expected_error_ml=12.0, flag="reaches the edge of the scan"))


def region(structure: str, error_ml: float, kind: str) -> Region:
    return Region(1, structure, (0.0, 0.0, 0.0), (0, 0, 0), ((0, 0, 0), (1, 1, 1)), 1.0, error_ml, kind)


def said(threshold: float | None = None, **fields) -> str:
    result, selection = a_result(**fields), Selection()
    selection.take(result)
    if threshold is not None:
        selection.move_to_threshold(threshold)
    return sentence(result, selection)


def test_the_structure_with_most_wrong_its_millilitres_its_worst_place_its_flag_and_the_promise():
    places = (region("left_kidney", 2.0, "missed"), region("liver", 1.0, "border"))
    assert said(structures=TWO, regions=places, remaining_error_ml=13.1) == (
        "Look at liver first: 12.0 mL are expected to be wrong in or around it, mainly along its border "
        "(region 2), and it is flagged: reaches the edge of the scan; " + PROMISED
    )


@pytest.mark.parametrize(("count", "ml"), [(61, "6.10"), (117, "11.7")])
def test_many_structures_are_one_sentence_too(count, ml):
    rows = tuple(Structure(f"s_{i}", i, 1.0, expected_error_ml=i / 10) for i in range(1, count + 1))
    found = said(structures=rows, remaining_error_ml=200.0)
    assert found.startswith(f"Look at s {count} first: {ml} mL are expected to be wrong in or around it, at no")
    assert found.endswith(PROMISED)


def test_one_structure_is_not_compared_with_others():
    found = said(structures=ONE, regions=(region("left_kidney", 2.0, "extra"),), remaining_error_ml=2.345)
    assert found == (
        "left kidney: 2.35 mL are expected to be wrong, mainly where too much is labelled (region 1); " + PROMISED
    )


@pytest.mark.parametrize(
    ("structures", "expected"),
    [
        ((), "This result has no structures; "),
        ((Structure("a", 1, 0.0),), "How much of the label is wrong is not known (this server does not say); "),
        (
            (Structure("a", 1, 9.0, flag="Risk not estimated"),),
            "How much of the label is wrong is not known (Risk not estimated)",
        ),
        ((Structure("a", 1, 9.0, expected_error_ml=0.0),), "Nothing is expected to be wrong in a; "),
        (
            tuple(Structure(name, 1, 9.0, expected_error_ml=0.0) for name in "ab"),
            "Nothing is expected to be wrong in any of 2 structures; ",
        ),
    ],
)
def test_what_is_not_there_or_not_known_is_said(structures, expected):
    assert said(structures=structures).startswith(expected)


def test_without_a_promise_it_says_why():
    found = said(
        structures=ONE, risk_coverage=POINTS.uncalibrated, guarantee=None, guarantee_reason="Never calibrated."
    )
    assert found.endswith("; nothing is promised: Never calibrated.")
    assert said(structures=ONE, risk_coverage=(), guarantee=None).endswith(
        "; nothing is promised: The server sent no risk-coverage curve."
    )
    assert said(0.4, structures=ONE).endswith("; no promise holds at your threshold (one does at 0.2).")


def test_a_promise_with_confidence_says_how_sure():
    sure = dataclasses.replace(GUARANTEE, kind="rcps", delta=0.1)
    assert "; promised, 90 % sure: at most 5 % of the true volume stays wrong" in said(structures=ONE, guarantee=sure)
