"""Many cases in the background: selected rows, or a folder, against a real server process."""

from __future__ import annotations

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.logic.batch import Item, scans_in
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.segment_section import SegmentSection


@pytest.fixture
def annotator(host, server, tmp_path):
    """With the model chosen that answers soonest."""
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.connect(server.url)
        task, name = server.baseline.split("_", 1)
        annotator.choose(annotator.segment.ui.taskComboBox, task)
        annotator.choose(annotator.segment.ui.modelComboBox, name)
        annotator.wait()
        yield annotator


def batch(annotator):
    return annotator.cases.batch


def select(annotator, *cases: str) -> None:
    table = annotator.cases.ui.casesTable
    table.clearSelection()
    for row in range(table.rowCount):
        if table.item(row, 0).text() in cases:
            table.setRangeSelected(slicer_range(row, table.columnCount), True)


def slicer_range(row: int, columns: int):
    import qt

    return qt.QTableWidgetSelectionRange(row, 0, row, columns - 1)


def run(annotator) -> None:
    annotator.desktop.wait_until(lambda: not batch(annotator).running)
    annotator.wait()


def test_selected_cases_are_scored_and_open_from_the_cache(annotator, server):
    first, second = server.images()[:2]
    ui = annotator.cases.ui
    assert not ui.batchButton.isEnabled()
    select(annotator, first, second)
    assert ui.batchButton.text == "Segment 2 selected cases"
    annotator.click(ui.batchButton)
    assert ui.batchCancelButton.isVisibleTo(annotator.window)
    assert not annotator.session.busy  # one's own work goes on
    run(annotator)
    assert batch(annotator).text == f"2 of 2 cases are segmented and scored by {server.baseline}."
    assert set(annotator.cases._table.selected()) == {first, second}
    scored = {row.id: row.score for row in annotator.cases.cases.rows}
    assert scored[first] is not None
    assert scored[second] is not None
    asked = {"kind": "infer", "model": server.baseline, "image": second}
    job = server.http.post("/uncertainty/v1/jobs", json=asked).json()["id"]
    assert server.http.get(f"/uncertainty/v1/jobs/{job}").json()["state"] == "done"  # at once


@pytest.fixture
def visitor(host, wire_server, tmp_path):
    """At a server that answers at once, or fails on command."""
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.connect(wire_server.url)
        annotator.session.state.model = "phantom_low_rank"
        annotator.session.changed.emit()
        annotator.wait()
        yield annotator


def begin(visitor, *cases: str) -> None:
    batch(visitor).start([Item(case) for case in cases], visitor.segment.model, {"seed": 3})


def test_a_case_that_fails_is_named_and_the_others_are_done(visitor, wire_server):
    wire_server.job_states = [
        {"state": "failed", "fraction": 0.0, "error": "no such scan"},
        {"state": "done", "fraction": 1.0},
    ]
    begin(visitor, "gone", "phantom_1")
    run(visitor)
    assert batch(visitor).failed == {"gone": "no such scan"}
    assert batch(visitor).text == "1 of 2 cases are segmented and scored by phantom_low_rank. 1 failed."
    assert visitor.cases.ui.batchLabel.text.endswith("gone: no such scan")
    asked = [body for path, body in wire_server.bodies if path == "/uncertainty/v1/jobs"]
    assert [(body["kind"], body["image"], body["params"]) for body in asked] == [
        ("score", "gone", {"seed": 3}), ("score", "phantom_1", {"seed": 3}),
    ]  # fmt: skip


def test_stopping_keeps_what_is_done_and_ends_the_job(visitor, wire_server):
    ui = visitor.cases.ui
    wire_server.job_states = [{"state": "done", "fraction": 1.0}, {"state": "running", "fraction": 0.5}]
    begin(visitor, "phantom_1", "phantom_1", "phantom_1")
    visitor.desktop.wait_until(lambda: batch(visitor).done == 1 and "inference" in batch(visitor).text.lower())
    assert ui.batchProgressBar.value >= 1000 / 3
    assert batch(visitor).text.startswith("phantom_1 (2 of 3): ")
    visitor.click(ui.batchCancelButton)
    run(visitor)
    assert batch(visitor).text == "Stopped after 1 of 3 cases."
    assert not ui.batchCancelButton.isVisibleTo(visitor.window)
    visitor.desktop.wait_until(lambda: any(method == "DELETE" for method, *_ in wire_server.requests))


def test_a_server_that_is_gone_ends_it(visitor, wire_server):
    wire_server.close()
    begin(visitor, "phantom_1", "phantom_1")
    run(visitor)
    assert batch(visitor).text == "Stopped after 0 of 2 cases, for the server does not answer. 1 failed."
    wire_server.open()


def test_a_folder_is_uploaded_once_after_a_question_that_says_what_goes_where(
    visitor, wire_server, tmp_path, monkeypatch, phantom_case
):
    import qt

    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(phantom_case.scan, folder / "scan_a.nii.gz")
    (folder / "scan_b.nii").write_bytes(b"no scan at all")
    (folder / "notes.txt").write_text("no scan either")
    assert [item.case for item in scans_in(folder)] == ["scan_a", "scan_b"]
    asked, answers = [], [False, True, True]
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text, *_, **__: asked.append(text) or answers.pop(0)
    )
    wire_server.refusals["/datastore/image?image=scan_b"] = (400, b'{"detail": "scan_b: no NIfTI"}')

    def sent() -> list[str]:
        return [query["image"][0] for query, *_ in wire_server.uploads]

    visitor.click(visitor.cases.ui.batchFolderButton)
    assert "All voxels of 2 scans in " in asked[0]
    assert wire_server.url in asked[0]
    assert (batch(visitor).running, sent()) == (False, [])  # the answer was no
    visitor.click(visitor.cases.ui.batchFolderButton)
    run(visitor)
    assert (list(batch(visitor).failed), sent()) == (["scan_b"], ["scan_a"])
    visitor.click(visitor.cases.ui.batchFolderButton)  # again: the good one is there already
    run(visitor)
    assert (list(batch(visitor).failed), sent()) == (["scan_b"], ["scan_a"])


@pytest.fixture
def pictures(tmp_path):
    """A folder with an image, a clip, and a clip that says so itself."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, frames, note in (("image", 1, b""), ("noted", 3, b"axis=time spacing=unknown"), ("sweep", 4, b"")):
        made = nib.Nifti1Image(np.arange(12 * frames, dtype=np.int16).reshape(4, 3, frames), np.eye(4))
        made.header["descrip"] = note
        made.to_filename(folder / f"{name}.nii.gz")
    return folder


def takes_pictures(visitor, monkeypatch, folder) -> None:
    """The server's model is one of images, and whoever is asked for a folder names this one and agrees."""
    import qt

    state = visitor.session.state
    model = replace(visitor.segment.model, dimensions=2)
    state.info = replace(state.info, models={model.name: model})
    visitor.session.changed.emit()
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)


@pytest.mark.parametrize(("known", "spacing"), [(True, None), (False, ["unknown"])])
def test_of_a_folder_of_images_and_clips_the_server_is_told_which_are_which(
    visitor, wire_server, pictures, monkeypatch, known, spacing
):
    ui = visitor.cases.ui
    assert not ui.batchClipsCheckBox.isVisibleTo(visitor.window)  # the model takes volumes
    takes_pictures(visitor, monkeypatch, pictures)
    visitor.click(ui.batchFolderButton)
    assert visitor.session.state.message == (
        "sweep.nii.gz has 4 slices, and the model takes images and clips: tick 'Slices are frames of clips' if the "
        "third axis of these files is time, or choose a model of volumes."
    )
    assert (batch(visitor).running, list(wire_server.uploads)) == (False, [])
    visitor.tick(ui.batchClipsCheckBox)
    ui.batchSpacingCheckBox.setChecked(not known)
    visitor.click(ui.batchFolderButton)
    run(visitor)
    sent = {query["image"][0]: (query.get("axis"), query.get("spacing")) for query, *_ in wire_server.uploads}
    assert sent == {"image": (None, spacing), "noted": (["time"], spacing), "sweep": (["time"], spacing)}


def test_a_model_of_volumes_is_told_nothing_of_axes(visitor, wire_server, pictures, monkeypatch):
    takes_pictures(visitor, monkeypatch, pictures)
    state = visitor.session.state
    state.info = replace(state.info, models={m.name: replace(m, dimensions=3) for m in state.info.models.values()})
    visitor.session.changed.emit()
    visitor.click(visitor.cases.ui.batchFolderButton)
    run(visitor)
    assert [set(query) for query, *_ in wire_server.uploads] == [{"image"}] * 3
