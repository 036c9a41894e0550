"""What a plan prints: every error, warnings by their kind, choices that can be read at any width."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.cli.console import console
from uncertaintyseg.cli.plan_told import tell, usable, warning_lines
from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.facts import Problem
from uncertaintyseg.planning.plan import Trial, make_plan

UNREADABLE = Problem("case_1", "unreadable", "labels/case_1.nii.gz: damaged.", "error")
GRID = Problem("case_4", "grid", "its grid is another.", "error")
WHOLE = Problem(None, "absent", "no case holds lesion.", "error")


def found(*problems):
    return replace(fingerprint((35, 50, 35), (1.0, 1.0, 1.0)), problems=list(problems), measured=list(problems))


def test_errors_of_different_kinds_are_all_printed_in_order_and_then_counted_once(capfd):
    with pytest.raises(InputError) as raised:
        usable(found(UNREADABLE, GRID), skip_bad=False)
    assert capfd.readouterr().err.splitlines() == [
        "Error: case case_1: labels/case_1.nii.gz: damaged.",
        "Error: case case_4: its grid is another.",
    ]
    assert str(raised.value) == (
        "2 cases (case_1, case_4) cannot be used. Mend the cases, or leave them out with --skip-bad."
    )


def test_a_single_error_is_the_message():
    with pytest.raises(InputError, match=r"^case case_4: its grid is another\. Mend the cases, or .*--skip-bad\.$"):
        usable(found(GRID), skip_bad=False)


def test_no_case_is_blamed_for_what_the_whole_data_set_lacks():
    with pytest.raises(InputError, match=r"^no case holds lesion\.$"):
        usable(found(WHOLE), skip_bad=False)
    with pytest.raises(InputError, match=r"^1 case \(case_4\) cannot be used\. 1 error of the data set as a whole\."):
        usable(found(WHOLE, GRID), skip_bad=False)


def test_cases_that_are_left_out_are_named_and_kept_with_their_errors(capfd):
    rest = usable(found(UNREADABLE, GRID), skip_bad=True)
    assert "2 cases (case_1, case_4)" in capfd.readouterr().err
    assert rest.left_out == ("case_1", "case_4")
    assert rest.why_left_out == (UNREADABLE, GRID)


def test_warnings_of_a_kind_are_one_line_with_their_cases():
    unit = [Problem(f"case_{n}", "intensity", f"about {n} times as large.", "warning") for n in range(12)]
    ten = ", ".join(f"case_{n}" for n in range(10))
    lines = warning_lines([*unit, Problem(None, "absent", "seldom: lesion.", "warning")])
    assert lines == [
        "seldom: lesion.",
        f"12 cases ({ten} and 2 more): intensities in another unit than the rest. Case case_0: about 0 times as large.",
    ]
    assert warning_lines(unit[3:4]) == ["case case_3: about 3 times as large."]


@pytest.fixture
def told(monkeypatch, capfd):
    def tell_at(width, plan=None):
        monkeypatch.setattr(console, "width", width)
        data = found()
        tell(data, plan or make_plan(data, "hippo"))
        return capfd.readouterr().err

    return tell_at


def test_a_narrow_terminal_has_value_and_reason_on_lines_of_their_own(told):
    lines = told(80).splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("patch and window  --patch")
    assert lines[at + 1].strip() == "40 x 56 x 40 voxels"
    assert lines[at + 2].strip().startswith("a whole scan of the median size")
    assert all(re.match(r"    \S", line) for line in lines[at + 1 : at + 3])


def test_a_wide_terminal_has_a_table(told):
    assert re.search(r"patch and window\W+40 x 56 x 40 voxels\W+a whole scan", told(160))


def test_a_training_that_mostly_validates_is_warned_of(told):
    data = found()
    made = make_plan(data, "hippo", hours=0.1, try_step=lambda draft: Trial(1.0, 400.0, draft.memory.total))
    assert "Warning: Validation takes" in told(80, made)
    assert "Warning" not in told(80)
