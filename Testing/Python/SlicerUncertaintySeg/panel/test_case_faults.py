"""Cases and models of a server that waits, refuses, fails and drops on command."""

from __future__ import annotations

import gzip
import json

import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.segment_section import SegmentSection


@pytest.fixture
def annotator(host, wire_server, tmp_path):
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.connect(wire_server.url)
        annotator.choose(annotator.segment.ui.taskComboBox, "phantom_low_rank")
        annotator.wait()
        yield annotator


def refusal(status: int, detail: str) -> tuple[int, bytes]:
    return status, json.dumps({"detail": detail}).encode()


def test_when_all_cases_are_labelled_it_says_so(annotator, wire_server):
    wire_server.remaining = 0
    annotator.next_case()
    assert annotator.status == "Nothing is left to review: all images have a final label."
    assert not annotator.session.state.is_error


def test_when_only_the_open_case_is_left_it_stays_open(annotator, wire_server):
    annotator.next_case()
    annotator.run()
    annotator.next_case()
    assert annotator.status == "Nothing is left to review: every other image has a final label."
    assert annotator.session.state.result is not None


def test_a_stock_server_that_serves_the_open_case_again_does_not_cost_the_result(annotator, wire_server):
    annotator.next_case()
    annotator.run()
    sample = json.dumps({"id": "phantom_1", "samples": [{"id": "phantom_1"}]}).encode()
    wire_server.refusals["/activelearning"] = (200, sample)
    annotator.next_case()
    assert annotator.status == "The server offers phantom_1 again: choose another one from the table."
    assert annotator.session.state.result is not None


def test_a_server_without_a_list_of_cases_still_gives_the_next_one(annotator, wire_server):
    wire_server.refusals["/uncertainty/v1/cases"] = refusal(404, "Not Found")
    annotator.next_case()
    annotator.click(annotator.cases.ui.refreshButton)
    annotator.wait()
    assert annotator.session.state.sample.id == "phantom_1"
    assert not annotator.session.state.is_error


def test_without_cases_there_is_no_empty_table(annotator, wire_server):
    annotator.cases.cases.forget()
    annotator.session.changed.emit()
    assert not annotator.cases.ui.allCasesGroupBox.visible
    assert not annotator.cases.ui.labelledProgressBar.visible


def test_progress_moves_while_the_window_stays_alive(annotator, wire_server, tmp_path):
    wire_server.job_states = [
        {"state": "queued", "queue_position": 2},
        {"state": "running", "fraction": 0.5, "stage": "moments", "eta_s": 12.0},
    ]
    annotator.next_case()
    annotator.click(annotator.segment.ui.runButton)
    wait_until = annotator.desktop.wait_until
    wait_until(lambda: "2 other" in annotator.status)
    wait_until(lambda: annotator.status == "Moments... about 12 s left")
    assert 0 < annotator.panel.ui.progressBar.value < 100
    assert annotator.panel.ui.cancelButton.isEnabled()
    assert not annotator.segment.ui.runButton.isEnabled()
    assert not annotator.cases.ui.nextButton.isEnabled()
    annotator.picture(tmp_path / "running.png")
    wire_server.job_states = [{"state": "done"}]
    annotator.wait()
    assert annotator.session.state.result is not None


def test_cancel_stops_the_job_on_the_server(annotator, wire_server):
    wire_server.job_states = [{"state": "running", "fraction": 0.1, "stage": "window 1"}]
    annotator.next_case()
    annotator.click(annotator.segment.ui.runButton)
    annotator.desktop.wait_until(lambda: annotator.status.startswith("Window 1"))
    annotator.click(annotator.panel.ui.cancelButton)
    annotator.wait()
    assert annotator.status == "Cancelled."
    annotator.desktop.wait_until(lambda: wire_server.count("DELETE", "/uncertainty/v1/jobs/job-1") == 1)
    assert annotator.segment.ui.runButton.isEnabled()


def test_a_failed_job_keeps_the_case(annotator, wire_server):
    wire_server.job_states = [{"state": "failed", "error": "phantom_1 holds NaN: export it again."}]
    annotator.next_case()
    annotator.run()
    assert annotator.status == "phantom_1 holds NaN: export it again."
    assert annotator.scene.scan.GetScene() is not None
    assert annotator.segment.ui.runButton.isEnabled()


def test_a_broken_map_is_said_and_the_label_stays(annotator, wire_server):
    wire_server.refusals["/uncertainty/v1/results/k3y/maps"] = 200, gzip.compress(b"nothing")
    annotator.next_case()
    annotator.run()
    assert "cannot be read as an image" in annotator.status
    assert annotator.scene.segmentation is not None
    assert annotator.scene.maps == {}
    assert annotator.session.state.result is not None


def test_closing_the_scene_forgets_the_case_and_the_next_one_comes(annotator, host):
    annotator.next_case()
    annotator.run()
    host.clear()
    annotator.session.close_case()
    annotator.desktop.process_events()
    assert annotator.cases.ui.caseLabel.text == "No case is open."
    assert not annotator.segment.ui.runButton.isEnabled()
    annotator.next_case()
    assert annotator.cases.ui.caseLabel.text == "phantom_1"


def test_nothing_is_cut_off(annotator):
    annotator.next_case()
    annotator.desktop.process_events()
    labels = ("strategyLabel", "taskLabel", "modelLabel", "startLabel")
    for ui in (annotator.cases.ui, annotator.segment.ui):
        for name, widget in vars(ui).items():
            if (name.endswith("Button") or name in labels) and widget.isVisible():
                assert widget.width >= widget.fontMetrics().horizontalAdvance(widget.text), name


def test_a_connection_that_drops_once_is_no_news(annotator, wire_server):
    wire_server.drops["/datastore/image"] = 1
    wire_server.truncations["/datastore/image"] = 1
    annotator.next_case()
    assert not annotator.session.state.is_error
    assert annotator.scene.scan.GetScene() is not None


def test_a_refused_upload_leaves_the_case_and_says_why(annotator, wire_server):
    from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_volume

    annotator.next_case()
    ui = annotator.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(add_volume())
    annotator.tick(ui.consentCheckBox)
    wire_server.refusals["/datastore/image"] = refusal(409, "the id is taken")
    annotator.click(ui.uploadButton)
    annotator.wait()
    assert annotator.status == "the id is taken"
    assert annotator.session.state.sample.id == "phantom_1"
    assert not list((annotator.session.folder / "uploads").iterdir())


def test_a_server_that_fails_while_it_reviews_leaves_the_segmentation(annotator, wire_server):
    annotator.next_case()
    annotator.run()
    before = annotator.scene.segmentation
    annotator.choose(annotator.segment.ui.startComboBox, "a segmentation of the scene")
    annotator.segment.ui.segmentationComboBox.setCurrentNode(before)
    wire_server.refusals["/uncertainty/v1/results/k3y/review"] = refusal(500, "boom")
    annotator.run()
    assert "The server failed" in annotator.status
    assert annotator.scene.segmentation is before
    assert before.GetDisplayNode().GetVisibility()


def test_a_stock_model_is_a_task_of_its_own(annotator):
    annotator.choose(annotator.segment.ui.taskComboBox, "stock_model")
    assert annotator.session.state.model == "stock_model"
    assert annotator.segment.ui.aboutLabel.text == "a stock model\nLabels: organ, lesion."
