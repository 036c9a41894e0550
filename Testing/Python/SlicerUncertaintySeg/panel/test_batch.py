"""Many cases in the background: selected rows, or a folder, against a real server process."""

from __future__ import annotations

import shutil

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
    annotator.desktop.wait_until(lambda: not batch(annotator).running, 300)
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


def test_a_case_that_fails_is_named_and_the_others_are_done(annotator, server):
    good = server.images()[0]
    batch(annotator).start([Item("no such case"), Item(good)], annotator.segment.model, {})
    run(annotator)
    assert list(batch(annotator).failed) == ["no such case"]
    assert batch(annotator).text == f"1 of 2 cases are segmented and scored by {server.baseline}. 1 failed."
    assert "no such case: " in annotator.cases.ui.batchLabel.text


def test_stopping_keeps_what_is_done(annotator, server):
    cases = [Item(case) for case in server.images()] * 3
    batch(annotator).start(cases, annotator.segment.model, {"method": "noise", "options": {"passes": 200, "seed": 5}})
    annotator.desktop.wait_until(lambda: batch(annotator).text != "", 60)
    annotator.click(annotator.cases.ui.batchCancelButton)
    run(annotator)
    assert batch(annotator).text == f"Stopped after 0 of {len(cases)} cases."
    assert not annotator.cases.ui.batchCancelButton.isVisibleTo(annotator.window)


def test_a_folder_is_uploaded_once_after_a_question_that_says_what_goes_where(annotator, server, tmp_path, monkeypatch):
    folder = tmp_path / "scans"
    folder.mkdir()
    source = server.studies / f"{server.images()[0]}.nii.gz"
    shutil.copy(source, folder / "batch_a.nii.gz")
    (folder / "batch_b.nii").write_bytes(b"no scan at all")
    (folder / "notes.txt").write_text("not a scan")
    assert [item.case for item in scans_in(folder)] == ["batch_a", "batch_b"]
    import qt

    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_, **__: asked.append(text) or True)
    try:
        annotator.click(annotator.cases.ui.batchFolderButton)
        run(annotator)
        assert "All voxels of 2 scans in " in asked[0]
        assert server.url in asked[0]
        assert list(batch(annotator).failed) == ["batch_b"]
        assert "batch_a" in server.images()
        annotator.click(annotator.cases.ui.batchFolderButton)  # again: the good one is there already
        run(annotator)
        assert list(batch(annotator).failed) == ["batch_b"]
        values = nib.load(source)
        nib.Nifti1Image(np.asarray(values.dataobj) + 1, values.affine).to_filename(folder / "batch_a.nii.gz")
        annotator.click(annotator.cases.ui.batchFolderButton)  # another scan under the name
        run(annotator)
        assert sorted(batch(annotator).failed) == ["batch_a", "batch_b"]
    finally:
        server.http.delete("/datastore/image?id=batch_a")
