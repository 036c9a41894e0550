"""Whose case it is, while it is open and after; and what a new user needs before the first one: scores."""

from __future__ import annotations

import json
import time

import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_volume
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.segment_section import SegmentSection

LEASE = "/uncertainty/v1/cases/phantom_1/lease"


@pytest.fixture
def annotator(host, wire_server, tmp_path):
    """Connected, and in no need to say goodbye."""
    host.slice_view("Red")
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.connect(wire_server.url)
        annotator.choose(annotator.segment.ui.taskComboBox, "phantom_low_rank")
        annotator.wait()
        yield annotator


def open_case(annotator) -> None:
    annotator.cases.cases.open("phantom_1")
    annotator.wait()


def test_the_lease_is_renewed_while_the_case_is_open(annotator, wire_server):
    open_case(annotator)
    wire_server.lease = {"annotator": "tester", "until": time.time() + 60, "mine": True}
    assert annotator.cases.lease.seconds == 3600  # half of two hours
    annotator.cases.lease.renew()  # as the timer does
    assert not annotator.session.busy
    annotator.wait()
    assert wire_server.lease["until"] > time.time() + 7000
    assert annotator.status == "phantom_1 opened."
    asked = [body for path, body in wire_server.bodies if path == LEASE]
    assert asked[-1] == {"minutes": 120, "client_id": "tester"}


def test_a_case_that_somebody_else_has_meanwhile_is_said(annotator, wire_server):
    open_case(annotator)
    detail = json.dumps({"detail": "Dr Other has 'phantom_1' until 12:30: take another case"}).encode()
    wire_server.refusals[LEASE] = (409, detail)
    annotator.cases.lease.renew()
    annotator.wait()
    assert annotator.session.state.is_error
    assert "Dr Other has 'phantom_1' until 12:30" in annotator.status


def test_a_server_that_does_not_answer_is_asked_again_next_time(annotator, wire_server):
    open_case(annotator)
    wire_server.refusals[LEASE] = (503, b"{}")
    annotator.cases.lease.renew()
    annotator.wait()
    assert annotator.status == "phantom_1 opened."


def test_closing_the_case_gives_it_back(annotator, wire_server):
    open_case(annotator)
    assert wire_server.lease["mine"]
    annotator.session.close_case()
    annotator.wait()
    assert wire_server.lease is None
    annotator.cases.lease.renew()
    annotator.wait()
    assert wire_server.lease is None


def test_closing_the_panel_gives_the_case_back(annotator, wire_server):
    open_case(annotator)
    annotator.panel.close()
    assert wire_server.lease is None


def test_who_only_looks_neither_takes_nor_gives_back(annotator, wire_server):
    annotator.session.state.read_only = True
    open_case(annotator)
    annotator.cases.lease.renew()
    annotator.session.close_case()
    annotator.wait()
    assert not [path for _method, path, _headers in list(wire_server.requests) if path.startswith(LEASE)]


@pytest.mark.parametrize("has_leases", [True, False])
def test_an_uploaded_volume_is_taken(annotator, wire_server, has_leases):
    if not has_leases:
        wire_server.refusals["/uncertainty/v1/cases/ct/lease"] = (404, b'{"detail": "Not Found"}')
    ui = annotator.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(add_volume())
    ui.uploadNameLineEdit.setText("ct")
    annotator.tick(ui.consentCheckBox)
    annotator.click(ui.uploadButton)
    annotator.wait()
    assert annotator.session.state.sample.id == "ct"
    assert (wire_server.lease is not None) == has_leases


def test_scores_are_offered_where_the_strategy_needs_them_and_there_are_none(annotator, wire_server, tmp_path):
    ui = annotator.cases.ui
    assert ui.scoreHintLabel.isHidden()
    assert ui.nextButton.isDefault()
    wire_server.scored = False
    annotator.cases.cases.list()
    annotator.wait()
    assert ui.scoreHintLabel.text.startswith("No case has a score yet")
    assert "phantom_low_rank" in ui.scoreHintLabel.text
    assert ui.scoreHintLabel.isVisible()
    assert ui.scoreButton.isDefault()
    assert "bold" in ui.scoreButton.styleSheet
    annotator.picture(tmp_path / "offer.png")
    annotator.choose(ui.strategyComboBox, "random")
    assert ui.scoreHintLabel.isHidden()
    annotator.choose(ui.strategyComboBox, "predictive_entropy")
    assert ui.scoreHintLabel.isVisible()
    wire_server.scored = True
    wire_server.job_result = {"scores": {"phantom_1": 0.123}}
    annotator.click(ui.scoreButton)
    annotator.wait()
    assert annotator.status == "1 case is scored by phantom_low_rank."
    assert ui.scoreHintLabel.isHidden()
    assert ui.nextButton.isDefault()
