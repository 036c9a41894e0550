"""What is said of the slices that a model was shown."""

from __future__ import annotations

from UncertaintySegLib.logic import shown_slices
from UncertaintySegLib.server.results import InferResult


def told(case: str, examples: list[dict], **more) -> str:
    return shown_slices.told(InferResult("key", "", (), {}, (), {"examples": examples, **more}), case)


def shown(case: str, index: int, **more) -> dict:
    return {"case": case, "axis": 2, "index": index, "plane": "axial", **more}


def test_the_scans_own_come_first_and_others_by_their_name(host):
    found = told("here", [shown("there", 4, same_patient=True), shown("there", 9, same_patient=True), shown("here", 7)])
    assert found == "It was shown 3 slices: this scan axial 7; there (same patient) axial 4, 9."


def test_cases_that_could_not_be_shown_are_named(host):
    found = told("here", [shown("here", 7)], left_out=["picture", "sweep"])
    assert found == (
        "It was shown 1 slice: this scan axial 7. Left out, for they are of another kind (image or volume): "
        "picture, sweep."
    )


def test_of_a_model_that_has_learnt_nothing_is_said(host):
    assert told("here", []) == ""
    assert shown_slices.told(None, "here") == ""
