"""How fast the work goes: on the panel, and a row of a CSV for each submitted case."""

from __future__ import annotations

import csv
import dataclasses
import os

import pytest

from UncertaintySegLib.logic import pace as pace_logic
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.pace import FILE, HEADINGS, Pace
from UncertaintySegLib.logic.state import Submitted
from UncertaintySegLib.server.replies import Sample

TOLD = {"seconds": 60.0, "regions": 7, "seen": 4, "not_looked_at": 3, "accepted": 2, "dismissed": 1}


@pytest.fixture
def folder(tmp_path):
    settings.remember("workFolder", str(tmp_path / "work"))
    yield tmp_path / "work"
    settings.remember("workFolder", "")


@pytest.fixture
def pace(session, folder):
    return Pace(session)


@pytest.fixture
def at_rest(connected):
    """The editor of somebody whose clock stands still: seconds of work are those that a test adds."""
    connected.section.attention._clock = lambda: 0.0
    return connected


def left(session, ml: float | None) -> None:
    """The server's review says what is still expected to be wrong."""
    session.state.result = dataclasses.replace(session.state.result, remaining_error_ml=ml)
    session.result_changed.emit()


def submit(session, seconds: float, case: str = "phantom_1") -> None:
    told = {**TOLD, "seconds": seconds}
    session.state.submitted = Submitted(case, "phantom_low_rank", "tta", seconds + 9.0, 120, 0.48, told)
    session.submitted.emit()


def rows(file) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_case_is_a_row_with_what_was_expected_before_and_after(pace, session, show_result, folder):
    show_result(remaining_error_ml=1.5)
    left(session, 0.9)
    submit(session, 60.0)
    show_result(remaining_error_ml=0.5)
    submit(session, 120.0, "phantom_2")
    first, second = rows(folder / FILE)
    assert list(first) == HEADINGS
    assert (first["case"], first["model"], first["method"]) == ("phantom_1", "phantom_low_rank", "tta")
    assert (first["seconds_active"], first["seconds_open"], first["not_looked_at"]) == ("60.0", "69.0", "3")
    assert [float(first[f"expected_error_{when}_ml"]) for when in ("before", "after", "removed")] == [1.5, 0.9, 0.6]
    assert float(second["expected_error_removed_ml"]) == 0.0
    assert pace.text == (
        "2 cases, 90 s each (median); 40 an hour. Expected error taken away: 0.60 mL, 12.00 mL an hour."
    )


def test_doubt_that_grew_is_not_taken_away(pace, session, show_result):
    show_result(remaining_error_ml=0.5)
    left(session, 0.75)
    submit(session, 60.0)
    assert pace.text == "1 case in 60 s; 60 an hour. Expected error grew by 0.25 mL."


def test_what_no_review_has_seen_is_empty_and_not_nothing(pace, session, show_result, folder):
    show_result(remaining_error_ml=1.5)
    session.review_wanted.emit()  # drawn, and not reviewed yet
    submit(session, 60.0)
    [row] = rows(folder / FILE)
    assert (row["expected_error_after_ml"], row["expected_error_removed_ml"]) == ("", "")
    assert pace.text == "1 case in 60 s; 60 an hour."


def test_a_case_that_is_submitted_again_counts_what_was_done_since(pace, session, show_result, folder):
    show_result(remaining_error_ml=1.5)
    left(session, 1.0)
    submit(session, 60.0)
    left(session, 0.7)
    submit(session, 90.0)
    again = rows(folder / FILE)[1]
    assert (again["seconds_active"], again["expected_error_before_ml"]) == ("30.0", "1.0")
    assert float(again["expected_error_removed_ml"]) == pytest.approx(0.3)


def test_a_case_that_was_sent_drawn_on_left_and_restored_counts_once(at_rest, show_result, folder):
    connected, session = at_rest, at_rest.session
    pace = Pace(session)

    def sent(count: int) -> None:
        connected.click(connected.ui.submitButton)
        connected.wait(lambda: len(pace.rows) == count and not session.busy)

    show_result(remaining_error_ml=1.5)
    left(session, 1.0)
    session.state.seconds_active = 600.0
    sent(1)
    session.state.seconds_active += 300.0
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    session.close_case()
    show_result(remaining_error_ml=1.5)  # the model says of the case what it has said before
    connected.click(connected.ui.restoreButton)
    connected.reviewed()
    left(session, 0.7)
    sent(2)
    first, second = pace.rows
    assert first.seconds_active + second.seconds_active == session.state.seconds_active == 900.0
    assert first.seconds_active == 600.0
    assert (second.expected_error_before_ml, second.expected_error_after_ml) == (1.0, 0.7)


def test_of_a_label_that_waited_only_what_was_done_since_is_counted(at_rest, show_result, wire_server, folder):
    connected, session = at_rest, at_rest.session
    pace = Pace(session)
    show_result(remaining_error_ml=1.5)
    session.state.seconds_active = 600.0
    wire_server.drops["/datastore/label"] = 99
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: "waits here" in session.state.message)
    session.close_case()
    show_result(with_map=False, remaining_error_ml=1.5)
    session.waiting_label_wanted.emit()
    connected.reviewed()
    session.state.seconds_active += 300.0
    left(session, 0.2)
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: len(pace.rows) == 2)
    assert pace.rows[1].seconds_active == 300.0
    assert pace.rows[1].expected_error_after_ml == 0.2
    assert pace.rows[1].expected_error_before_ml != 1.5  # but what the review expected of the label that waits


def test_a_file_that_cannot_be_written_is_said_and_made_up_for(pace, session, show_result, folder):
    show_result(remaining_error_ml=1.5)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    submit(session, 60.0)
    assert "cannot be written" in pace.problem
    assert "its 1 rows are written with the next case" in pace.problem
    folder.unlink()
    submit(session, 90.0)
    assert pace.problem == ""
    assert len(rows(folder / FILE)) == 2


def test_a_disk_that_fills_in_the_middle_of_a_row_leaves_whole_rows(pace, session, show_result, folder, monkeypatch):
    show_result(remaining_error_ml=1.5)
    submit(session, 60.0)
    whole = (folder / FILE).read_bytes()
    synced = os.fsync

    def full(handle: int) -> None:  # the bytes are in the file when the disk says that it is full
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pace_logic.os, "fsync", full)
    submit(session, 90.0)
    assert (folder / FILE).read_bytes() == whole
    assert "No space left on device" in pace.problem
    monkeypatch.setattr(pace_logic.os, "fsync", synced)
    submit(session, 95.0)
    assert [row["seconds_active"] for row in rows(folder / FILE)] == ["60.0", "30.0", "5.0"]


def test_a_file_with_other_headings_is_left_alone(pace, session, show_result, folder):
    folder.mkdir()
    (folder / FILE).write_text("date,patients\nmonday,4\n")
    show_result()
    submit(session, 60.0)
    assert (folder / FILE).read_text() == "date,patients\nmonday,4\n"
    assert len(rows(folder / FILE.replace(".csv", "-2.csv"))) == 1


def test_a_label_that_is_sent_or_waits_is_a_row(connected, wire_server, folder):
    pace = Pace(connected.session)
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    assert [(row.case, row.regions) for row in pace.rows] == [("phantom_1", 0)]
    wire_server.drops["/datastore/label"] = 9
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: "waits here" in connected.session.state.message)
    assert len(pace.rows) == 2
    assert pace.rows[1].changed_ml > 0
    assert len(rows(folder / FILE)) == 2


def test_a_case_without_a_result_has_no_error_of_the_case_before(pace, session, show_result, phantom_case, folder):
    show_result(remaining_error_ml=1.5)
    submit(session, 60.0)
    session.open_case(Sample("phantom_2"), phantom_case.scan)  # its draft is restored while the server is away
    submit(session, 30.0, "phantom_2")
    last = rows(folder / FILE)[1]
    assert (last["seconds_active"], last["expected_error_before_ml"]) == ("30.0", "")
