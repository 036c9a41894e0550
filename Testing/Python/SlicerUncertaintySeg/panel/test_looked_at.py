"""What was looked at before a label is sent: seen regions and seconds, from real slice nodes."""

from __future__ import annotations

import json

import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.panel.reviewer import SPECS, regions_of
from UncertaintySegLib.logic.attention import IDLE_SECONDS, Attention
from UncertaintySegLib.logic.decisions import ACCEPTED, DISMISSED, Decision


@pytest.fixture
def clock():
    """A clock that a test sets."""
    return [100.0]


@pytest.fixture
def attention(host, session, show_result, phantom_case, clock):
    """Of the phantom with three regions, none of which a view shows."""
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    attention = Attention(session, lambda: clock[0])
    show_result(regions=regions_of(phantom_case))
    away(host)
    return attention


def away(host) -> None:
    """Show no region in any view."""
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name).node.JumpSliceByCentering(300.0, 300.0, 300.0)


def ras(session, number: int) -> tuple[float, ...]:
    return session.state.result.regions[number].ras_mm


def wait(attention, clock, seconds: float) -> None:
    """Let time pass, tick by tick."""
    end = clock[0] + seconds
    while clock[0] < end:
        clock[0] += 0.5
        attention.tick()


def test_a_region_is_seen_when_its_slice_was_in_a_view_for_a_second(attention, session, clock, host):
    assert attention.text == "3 of 3 regions were not looked at."
    attention.tick()
    host.slice_view("Red").node.JumpSliceByCentering(*ras(session, 0))
    wait(attention, clock, 0.5)
    assert attention.summary()["seen"] == 0
    away(host)  # scrolled past
    wait(attention, clock, 2.0)
    assert attention.summary()["seen"] == 0
    host.slice_view("Red").node.JumpSliceByCentering(*ras(session, 0))
    wait(attention, clock, 1.5)
    assert [place.structure for place in session.state.seen][:1] == ["organ"]
    assert attention.summary()["not_looked_at"] == 3 - len(session.state.seen)


def test_a_view_that_the_layout_hides_or_that_frames_another_place_shows_nothing(attention, session, clock, host):
    node = host.slice_view("Red").node
    node.JumpSliceByCentering(*ras(session, 0))
    node.SetXYZOrigin(500.0, 0.0, 0.0)  # panned away, within the same slice
    wait(attention, clock, 3.0)
    node.SetXYZOrigin(0.0, 0.0, 0.0)
    node.SetMappedInLayout(0)
    wait(attention, clock, 3.0)
    assert session.state.seen == []
    node.SetMappedInLayout(1)
    wait(attention, clock, 3.0)
    assert session.state.seen


def test_seconds_count_until_three_minutes_after_the_last_move(attention, session, clock, host):
    attention.tick()
    began = session.state.seconds_active
    wait(attention, clock, 60.0)
    assert session.state.seconds_active - began == pytest.approx(60.0)
    wait(attention, clock, 1000.0)
    assert session.state.seconds_active - began == pytest.approx(IDLE_SECONDS)
    away(host)
    host.slice_view("Green").node.SetSliceOffset(-200.0)
    attention.tick()
    wait(attention, clock, 10.0)
    assert session.state.seconds_active - began == pytest.approx(IDLE_SECONDS + 10.0)


def test_the_same_place_in_a_new_result_stays_seen_and_what_is_gone_counts_only_if_it_was(
    attention, session, phantom_case
):
    first, _second, third = session.state.result.regions
    session.state.see(first)
    assert attention.text == "2 of 3 regions were not looked at."
    moved = regions_of(phantom_case, [("organ", (27, 8, 11), ((19, 6, 8), (34, 12, 14)), 0.5)])
    object.__setattr__(session.state.result, "regions", moved)
    assert (attention.summary()["regions"], attention.text) == (1, "")
    session.state.see(third)
    assert attention.summary()["regions"] == 2


def test_the_counts_add_up_whatever_was_decided_and_another_case_begins_anew(
    attention, session, show_result, phantom_case
):
    [gone] = regions_of(phantom_case, [("organ", (0, 0, 0), ((0, 0, 0), (1, 1, 1)), 0.1)])
    session.state.decisions = (*[Decision(gone, ACCEPTED)] * 3, *[Decision(gone, DISMISSED)] * 2)
    told = attention.summary()
    assert told["seen"] + told["not_looked_at"] == told["regions"] >= told["accepted"] + told["dismissed"] == 5
    show_result()
    again = attention.summary()
    assert {name: again[name] for name in again if name != "seconds"} == {
        "regions": 0, "seen": 0, "not_looked_at": 0, "accepted": 0, "dismissed": 0,
    }  # fmt: skip


def test_going_to_a_region_is_seeing_it_and_deciding_counts(reviewer):
    attention = Attention(reviewer.session, lambda: 0.0)
    reviewer.click(reviewer.ui.nextButton)
    reviewer.click(reviewer.ui.acceptButton)  # goes to the second
    told = attention.summary()
    assert (told["regions"], told["seen"], told["not_looked_at"], told["accepted"]) == (len(SPECS), 2, 1, 1)
    assert attention.text == "1 of 3 regions was not looked at."
    reviewer.click(reviewer.ui.dismissButton)
    assert attention.summary()["dismissed"] == 1
    reviewer.session.history.undo()
    assert attention.summary()["dismissed"] == 0


def test_it_is_said_before_sending_and_goes_with_the_label(connected, wire_server, show_result, phantom_case):
    show_result(regions=regions_of(phantom_case))
    connected.session.state.see(connected.session.state.result.regions[0])
    connected.section.on_look()
    left = int(connected.ui.lookedAtLabel.text.split()[0])
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: not connected.session.busy)
    told = next(params for query, _, _, params in wire_server.uploads if query)["looked_at"]
    assert (told["regions"], told["not_looked_at"]) == (3, left)
    assert told["seconds"] >= 0


def test_a_label_that_waits_keeps_it_and_so_does_a_draft(connected, wire_server, tmp_path, show_result, phantom_case):
    show_result(regions=regions_of(phantom_case))
    session = connected.session
    session.state.see(session.state.result.regions[1])
    session.state.seconds_active = 42.0
    wire_server.drops["/datastore/label"] = 9
    connected.choose("organ")
    connected.erase((26, 7, 11), 5.0)
    connected.section.on_autosave()
    (notes,) = (tmp_path / "drafts").glob("*/draft.json")
    assert json.loads(notes.read_text(encoding="utf-8"))["seconds_active"] >= 42.0
    connected.click(connected.ui.submitButton)
    connected.wait(lambda: "waits here" in session.state.message)
    wire_server.drops.clear()
    connected.section.submission.look()
    connected.wait(lambda: any(query for query, *_ in wire_server.uploads))
    told = next(params for query, _, _, params in wire_server.uploads if query)["looked_at"]
    assert told["regions"] == 3
    assert told["seen"] >= 1
    assert told["seconds"] >= 42.0
