"""A server that goes away in the middle of anything, says no, or is another one than it should be."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("PySide6")

_CORNER = (10, 10, 5)  # voxel of no structure
_ORGAN = (26, 20, 11)


def refusal(status: int, detail: str) -> tuple[int, bytes]:
    return status, json.dumps({"detail": detail}).encode()


def sent_labels(server, folder) -> list[np.ndarray]:
    """The labels that a server got, I J K."""
    labels = []
    for number, (query, name, content, _params) in enumerate(list(server.uploads)):
        if query:
            file = folder / f"{number}-{name}"
            file.write_bytes(content)
            labels.append(np.asarray(nib.load(file).dataobj))
    return labels


def back(user) -> None:
    """Wait until the module has found its server again by itself."""
    user.panel.sections["Server"].connection._plan(0.0)
    user.wait_for(lambda: user.panel.sections["Server"].connection.light.value == "on")
    user.wait()


def test_a_server_that_is_gone_before_each_request_costs_nothing_but_the_request(user, full_server):
    """Every button in turn while the server is gone; then it comes back, and each of them works."""
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    full_server.close()
    user.desktop.answers.buttons += ["Ok"] * 9
    for section, button in (
        ("Cases", "nextButton"),
        ("Cases", "scoreButton"),
        ("Segment", "runButton"),
        ("Risk", "shapesButton"),
    ):
        user.press(section, button)
        assert "No MONAI Label server answers" in user.status or "is not reachable" in user.status, button
        np.testing.assert_array_equal(user.drawn(), drawn)
    user.ui("Risk").mapComboBox.setCurrentIndex(2)
    user.wait()
    user.key("C")
    user.click_at(_ORGAN)
    user.wait()
    assert "had no effect yet" in user.ui("Regions").clickHintLabel.text
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.wait_for(lambda: user.edit.reviewing.is_due)
    assert user.edit.reviewing.text.startswith("Risk not estimated")
    full_server.open()
    back(user)
    user.edit.on_retry()
    user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk estimated"))
    user.press("Risk", "shapesButton")
    assert user.ui("Risk").pageLabel.text.startswith("1 of 12")
    np.testing.assert_array_equal(user.drawn(), drawn)


@pytest.mark.parametrize(
    ("path", "section", "button"),
    [
        ("/activelearning/", "Cases", "nextButton"),
        ("/uncertainty/v1/jobs", "Segment", "runButton"),
        ("/datastore/label", "Edit", "submitButton"),
        ("/uncertainty/v1/results/k3y/samples", "Risk", "shapesButton"),
    ],
)
def test_a_connection_that_drops_mid_request_is_said_and_the_next_try_works(user, full_server, path, section, button):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    full_server.drops[path] = 1
    user.desktop.answers.buttons += ["Ok"] * 4
    user.press(section, button)
    assert user.is_error
    assert "dropped" in user.status or "waits here" in user.status
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.press(section, button)
    assert not user.is_error or user.ui("Risk").pageLabel.text.startswith("1 of 12"), user.status


def test_a_label_that_could_not_be_sent_is_sent_by_itself(user, full_server, tmp_path):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    full_server.close()
    user.key("Shift+S")
    user.wait()
    assert user.status.startswith("The server cannot be reached: the label of phantom_1 waits here")
    assert user.ui("Edit").waitingLabel.text == "1 label waits to be sent."
    np.testing.assert_array_equal(user.drafts()[-1], drawn)
    full_server.open()
    back(user)
    user.edit.on_retry()
    user.wait()
    assert user.status == "The label of phantom_1, which waited, is saved on the server."
    assert user.drafts() == []
    (sent,) = sent_labels(full_server, tmp_path)
    np.testing.assert_array_equal(sent, drawn)


def test_a_map_that_is_cut_off_is_said_and_the_next_choice_of_it_works(user, full_server):
    user.begin(full_server.url)
    combo_box = user.ui("Risk").mapComboBox
    full_server.refusals["/uncertainty/v1/results/k3y/maps"] = (
        200,
        gzip.compress(np.random.default_rng(0).bytes(999))[:500],
    )
    combo_box.setCurrentIndex(3)
    user.wait()
    assert user.status == "probability_organ.nii.gz arrived damaged: try again."
    full_server.refusals.clear()
    combo_box.setCurrentIndex(1)
    combo_box.setCurrentIndex(3)
    user.wait()
    assert user.scene.shown == "probability_organ"


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (403, "annotators may not do this", "annotators may not do this"),
        (500, "boom", "The server failed at"),
    ],
)
def test_a_refusal_of_anything_is_one_sentence_and_costs_nothing(user, full_server, status, detail, said):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    for path in ("/activelearning", "/uncertainty/v1/jobs", "/uncertainty/v1/results", "/datastore/label"):
        full_server.refusals[path] = refusal(status, detail)
    user.desktop.answers.buttons += ["Ok"] * 9
    for section, button in (
        ("Cases", "nextButton"),
        ("Segment", "runButton"),
        ("Risk", "shapesButton"),
        ("Edit", "submitButton"),
    ):
        user.press(section, button)
        assert said in user.status, button
        np.testing.assert_array_equal(user.drawn(), drawn)
    user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk not estimated"))
    assert said in user.edit.reviewing.text


def test_a_wrong_token_is_said_at_connecting_and_a_right_one_then_works(user, full_server):
    full_server.refusals["/info/"] = refusal(401, "unknown token")
    user.connect(full_server.url, token="wrong")
    assert "asks for a valid access token (unknown token)" in user.status
    assert user.ui("Server").connectionLabel.text == "Not connected."
    user.press_everything()
    full_server.refusals.clear()
    user.begin(full_server.url)


def test_a_token_that_ends_while_one_works_keeps_the_work(user, full_server):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    full_server.refusals["/"] = refusal(401, "the token has ended")
    user.press("Edit", "submitButton")
    assert "the token has ended" in user.status
    user.press_everything(("startButton", "undoButton"))
    full_server.refusals.clear()
    user.ui("Report").readOnlyCheckBox.setChecked(False)
    user.connect(full_server.url)
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.press("Edit", "submitButton")
    assert "is saved" in user.status


def test_a_server_of_another_version_says_so_and_works_as_far_as_it_can(user, full_server):
    full_server.info = {**full_server.info, "version": "7.3.0"}
    user.connect(full_server.url)
    assert user.status.startswith("The server is version 7.3.0, this module is ")
    for gone in ("remaining_error_ml", "risk_coverage", "regions", "guarantee", "guarantee_reason"):
        job = full_server.job_result
        del job["risk"][gone]
        full_server.job_result = job
    user.next_case()
    user.run()
    assert "segmented by" in user.status
    user.press_everything()


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b'{"risk": 3, "samples": {}, "cases": 7, "id": []}'])
def test_an_answer_that_is_nonsense_is_said_in_a_sentence(user, full_server, answer):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    for path in ("/activelearning", "/uncertainty/v1", "/datastore"):
        full_server.refusals[path] = 200, answer
    user.desktop.answers.buttons += ["Ok"] * 9
    for section, button in (
        ("Cases", "refreshButton"),
        ("Cases", "scoreButton"),
        ("Risk", "shapesButton"),
        ("Cases", "nextButton"),
        ("Segment", "runButton"),
    ):
        user.press(section, button)
        if user.scene.segmentation is not None:
            np.testing.assert_array_equal(user.drawn(), drawn)
    user.wait_for(lambda: bool(user.edit.reviewing.text))
    user.wait()


def test_a_server_that_says_nonsense_of_itself_is_no_server(user, full_server):
    for answer in (b"[]", b'{"models": 3}', b'{"strategies": ["a"]}', b'{"models": {"m": {"labels": {"a": "x"}}}}'):
        full_server.refusals["/info/"] = 200, answer
        user.connect(full_server.url)
        assert user.is_error, answer
    user.press_everything()


def test_a_stock_server_lends_cases_and_says_that_it_cannot_run_its_models_here(user, full_server):
    info = full_server.info
    full_server.info = {**info, "models": {"stock_model": info["models"]["stock_model"]}}
    full_server.refusals["/uncertainty"] = refusal(404, "Not Found")
    user.connect(full_server.url)
    assert user.status.startswith("This MONAI Label server has no models that know where they are unsure")
    user.next_case()
    assert user.state.sample.id == "phantom_1"
    user.run()
    assert user.status.endswith("start the server with `uncertaintyseg serve`.")
    user.press_everything()
