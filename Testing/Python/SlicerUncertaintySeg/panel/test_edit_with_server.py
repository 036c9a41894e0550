"""Correct a case that a real server segmented, have it reviewed, submit it, and find it there voxel for voxel."""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.edit_section import EditSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.panel.selection_section import SelectionSection


@pytest.fixture
def annotator(host, server, tmp_path, monkeypatch):
    from UncertaintySegLib.panel import edit_section

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    host.slice_view("Red")
    sections = [CasesSection, SegmentSection, SelectionSection, EditSection]
    with sitting_at(sections, tmp_path / "downloads") as annotator:
        annotator.begin(server.url, server.baseline, server.images()[0])
        annotator.run()
        yield annotator


def worst_place(annotator) -> tuple[float, float, float]:
    """Where the model doubts a structure most, in mm."""
    region = annotator.session.state.result.regions[0]
    return tuple(region.ras_mm)


def test_edit_review_submit(annotator, server, tmp_path):
    section, state = annotator.panel.sections["Edit"], annotator.session.state
    annotator.wait()
    assert section.editing.uncertain_ml > 0
    before = state.result.remaining_error_ml
    segments = annotator.scene.segmentation.GetSegmentation()
    section.editor.setCurrentSegmentID(segments.GetSegmentIDs()[0])
    annotator.desktop.paint(section.editor, worst_place(annotator), 6.0)
    annotator.desktop.wait_until(lambda: section.reviewing.text.startswith("Risk estimated:"))
    assert state.result.key != state.base.key
    assert 0 <= state.result.remaining_error_ml < before
    assert state.result.structures[0].anomaly_score is not None
    assert "anomaly" in state.result.maps

    image = annotator.scene.case
    annotator.scene.write_label(tmp_path / "drawn.nii.gz")
    changed = section.editing.changed_voxels
    assert changed > 0
    try:
        annotator.click(section.ui.submitButton)
        annotator.wait()
        assert annotator.status.startswith(f"The label of {image} is saved: {changed} voxels (")
        saved = server.http.get("/datastore/label", params={"label": image, "tag": "final"})
        (tmp_path / "saved.nii.gz").write_bytes(io.BytesIO(saved.content).getvalue())
        sent, kept = (nib.load(tmp_path / name) for name in ("drawn.nii.gz", "saved.nii.gz"))
        np.testing.assert_array_equal(np.asarray(kept.dataobj), np.asarray(sent.dataobj))
        np.testing.assert_allclose(kept.affine, sent.affine, atol=1e-4)
    finally:
        server.http.delete("/datastore/label", params={"id": image, "tag": "final"})


def test_a_removed_structure_is_no_progress(annotator, server):
    """The expected error rises, undo takes it back, and nobody sends it unasked."""
    section, state, scene = annotator.panel.sections["Edit"], annotator.session.state, annotator.scene
    section.ui.insideRiskCheckBox.setChecked(False)
    image, before, drawn = scene.case, state.result, scene.label_ids()
    row = max(before.structures, key=lambda row: row.volume_ml)
    contents = scene.segmentation.GetSegmentation()
    contents.RemoveSegment(contents.GetSegmentIdBySegmentName(row.name))
    annotator.desktop.wait_until(lambda: section.reviewing.text.startswith("Risk estimated:"))
    assert state.result.remaining_error_ml > before.remaining_error_ml + row.volume_ml / 2
    worst = state.result.regions[0]
    assert (worst.structure, worst.kind) == (row.name, "missed")
    try:
        annotator.desktop.answers.clear()
        annotator.click(section.ui.submitButton)
        annotator.wait()
        (question,) = annotator.desktop.answers.asked
        assert f"{row.name}: {volume(row.volume_ml)} mL, now empty" in question
        tags = {"label": image, "tag": "final"}
        assert server.http.get("/datastore/label", params=tags).status_code == 404
    finally:
        section.ui.insideRiskCheckBox.setChecked(True)
    annotator.click(section.ui.undoButton)
    np.testing.assert_array_equal(scene.label_ids(), drawn)
    assert state.result is before


def test_the_anomaly_map_is_one_like_any_other(annotator):
    section = annotator.panel.sections["Edit"]
    annotator.scene.wanted = "anomaly"
    section.editor.setCurrentSegmentID(annotator.scene.segmentation.GetSegmentation().GetSegmentIDs()[0])
    annotator.desktop.paint(section.editor, worst_place(annotator), 6.0)
    annotator.desktop.wait_until(lambda: section.reviewing.text.startswith("Risk estimated:"))
    assert annotator.scene.shown == "anomaly"
    assert slicer.util.arrayFromVolume(annotator.scene.maps["anomaly"]).max() > 0
