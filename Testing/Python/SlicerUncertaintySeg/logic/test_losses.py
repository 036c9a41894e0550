"""The question before a label is sent that lost structures."""

from __future__ import annotations

from UncertaintySegLib.logic.losses import Loss, question


def test_the_greatest_loss_comes_first_and_what_is_empty_says_so():
    losses = [Loss(1, "spleen", 200.0, 90.0), Loss(2, "liver", 1500.0, 0.0), Loss(3, "gallbladder", 0.3, 0.1)]
    assert question("case_7", losses).splitlines() == [
        "These structures of case_7 have lost more than half of their volume:",
        "liver: 1500 mL, now empty",
        "spleen: 200 mL, now 90.0 mL",
        "gallbladder: 0.30 mL, now 0.10 mL",
        "",
        "Send the label? (Y: yes, N or Esc: no)",
    ]


def test_a_hundred_structures_are_one_question_that_fits_the_screen():
    lines = question("case_7", [Loss(number, f"s{number}", number, 0.0) for number in range(1, 101)]).splitlines()
    assert lines[1:3] == ["s100: 100 mL, now empty", "s99: 99.0 mL, now empty"]
    assert lines[-3] == "and 88 more"
    assert len(lines) == 16
