"""The road of somebody with TotalSegmentator: its weights imported, the risk of a label that it made, the worst region,
a correction, the submission. Real CT, real label, real server; the weights are laid out as its own are, untrained.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")
pytest.importorskip("dynamic_network_architectures")

from Testing.Python.servers import SERVE
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.uncertaintyseg import many
from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import lay_out
from uncertaintyseg.imports import import_model
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.edit_section import EditSection
from UncertaintySegLib.panel.regions_section import RegionsSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.segment_section import SegmentSection

MODEL = "totalsegmentator_total_fast"
SECTIONS = [CasesSection, SegmentSection, RiskSection, RegionsSection, EditSection]


@pytest.fixture(scope="module")
def files(shared_data, tmp_path_factory):
    """The middle of a real CT and TotalSegmentator's own label of it, every second voxel."""
    folder = tmp_path_factory.mktemp("road")
    data = shared_data / "totalsegmentator_examples"
    for name, path in (("ct", "images/example_ct_sm.nii.gz"), ("label", "labels/example_seg_fast.nii.gz")):
        image = nib.load(data / path)
        values = np.asarray(image.dataobj)[30:90:2, 20:80:2, ::2]
        affine = image.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] = nib.affines.apply_affine(image.affine, (30, 20, 0))
        kind = np.int16 if name == "ct" else np.uint8
        nib.Nifti1Image(values.astype(kind), affine).to_filename(folder / f"{name}.nii.gz")
    return {name: folder / f"{name}.nii.gz" for name in ("ct", "label")}


@pytest.fixture
def annotator(host, launch, files, tmp_path, monkeypatch):
    from UncertaintySegLib.panel import edit_section

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(lay_out(tmp_path / "weights", "total_fast")))
    import_model(Path("totalsegmentator"), output=tmp_path / "models", task="total_fast")
    command = [*SERVE, "--models", str(tmp_path / "models"), "--cache", str(tmp_path / "cache")]
    server = launch(command, [files["ct"]])
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at(SECTIONS, tmp_path / "downloads") as annotator:
        annotator.server = server
        annotator.connect(server.url)
        annotator.choose(annotator.segment.ui.taskComboBox, MODEL)
        annotator.cases.cases.open("ct")
        annotator.wait()
        yield annotator


def choose(annotator, node) -> str:
    """Start from a segmentation of the scene, and return what is said of it."""
    ui = annotator.segment.ui
    annotator.choose(ui.startComboBox, "a segmentation of the scene")
    ui.segmentationComboBox.setCurrentNode(None)
    ui.segmentationComboBox.setCurrentNode(node)
    annotator.wait()
    return ui.partsLabel.text


def name_segments(node) -> None:
    """Give the segments the names that TotalSegmentator gives them."""
    contents = node.GetSegmentation()
    for segment_id in contents.GetSegmentIDs():
        segment = contents.GetSegment(segment_id)
        segment.SetName(many.names()[segment.GetLabelValue() - 1])


def test_a_totalsegmentator_label_is_reviewed_corrected_and_submitted(annotator, files):
    known = len(np.unique(np.asarray(nib.load(files["label"]).dataobj))) - 1
    assert known > 20
    node = slicer.util.loadSegmentation(str(files["label"]))
    by_number = choose(annotator, node)
    assert by_number.startswith(f"{known} of {known} segments are labels of the model.")
    assert "the numbers of their voxels" in by_number
    name_segments(node)
    assert choose(annotator, node) == f"{known} of {known} segments are labels of the model."
    annotator.run()

    state, scene = annotator.session.state, annotator.scene
    assert not state.is_error, state.message
    assert scene.shown == "error_probability"
    rows = [row for row in annotator.panel.sections["Risk"].table._shown if row.expected_error_ml is not None]
    assert rows[0].expected_error_ml == max(row.expected_error_ml for row in state.result.structures)
    np.testing.assert_array_equal(drawn(annotator), np.asarray(nib.load(files["label"]).dataobj))

    annotator.panel.sections["Regions"].button.collapsed = False
    annotator.click(annotator.panel.sections["Regions"].ui.nextButton)
    worst = state.result.regions[0]
    assert worst.rank == 1
    edit, segments = annotator.panel.sections["Edit"], scene.segmentation.GetSegmentation()
    edit.ui.insideRiskCheckBox.setChecked(False)
    edit.editor.setCurrentSegmentID(segments.GetSegmentIdBySegmentName(worst.structure))
    before = drawn(annotator)
    correct = annotator.desktop.erase if worst.kind == "extra" else annotator.desktop.paint
    correct(edit.editor, worst.ras_mm, 9.0)
    annotator.desktop.wait_until(lambda: edit.reviewing.text.startswith("Risk estimated:"))
    after = drawn(annotator)
    assert (after != before).sum() > 0
    ids = {label.name: label.id for label in state.result.labels}
    assert set(after[after != before].tolist()) == {0 if worst.kind == "extra" else ids[worst.structure]}

    edit.button.collapsed = False
    annotator.desktop.process_events()
    annotator.click(edit.ui.submitButton)
    annotator.wait()
    assert not state.is_error, state.message
    reply = annotator.server.http.get("/datastore/label?label=ct&tag=final")
    saved = nib.Nifti1Image.from_bytes(gzip.decompress(reply.content))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), after)


def drawn(annotator) -> np.ndarray:
    """The label as it would be sent, I J K."""
    file = annotator.session.folder / "drawn.nii"
    annotator.scene.write_label(file)
    return np.asarray(nib.load(file).dataobj)
