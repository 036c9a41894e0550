"""Running models and reviewing labels that are there already, against a real server process."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.servers import TASK
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_transform
from Testing.Python.SlicerUncertaintySeg.scene.test_intake_labels import add_segmentation
from UncertaintySegLib.logic import settings
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.scene import intake_labels
from UncertaintySegLib.server.replies import LabelShift

SCENE = "a segmentation of the scene"


@pytest.fixture
def annotator(host, server, tmp_path):
    """With a case open and the model chosen that answers soonest."""
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection], tmp_path / "downloads") as annotator:
        annotator.cases.button.collapsed = True
        annotator.begin(server.url, server.baseline, server.images()[0])
        yield annotator


def names(segmentation) -> list[str]:
    return [part.name for part in intake_labels.parts(segmentation)]


def drawn(annotator, name: str) -> np.ndarray:
    """A segment as `[K, J, I]` of the scan's node."""
    segmentation = annotator.scene.segmentation
    segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, annotator.scene.scan)


def segment_and_copy(annotator, names: dict[str, str]):
    """The model's own segmentation as somebody else's, under other names and with a piece cut off."""
    annotator.run()
    masks = {new: drawn(annotator, old).copy() for old, new in names.items()}
    for mask in masks.values():
        mask[:, :, : mask.shape[2] // 2] = 0
    masks["stent"] = np.zeros_like(mask)
    masks["stent"][0, :3, :3] = 1
    return masks, add_segmentation(annotator.scene.scan, masks)


def test_the_chosen_model_is_told_about(annotator, server, tmp_path):
    text = annotator.segment.ui.aboutLabel.text
    assert "Labels: anterior, posterior." in text or "Labels: organ, lesion." in text
    assert "Head deterministic" in text
    assert "alibrated" in text
    assert annotator.session.state.model == server.baseline
    assert all(label.rgb for label in annotator.segment.model.labels)
    assert annotator.segment.ui.runButton.text == "Segment"
    annotator.picture(tmp_path / "model.png")


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (
            (1234, 45678),
            "Its label is not quite that of total: 1234 voxels moved in the validation cases, 2.7 % of the structures.",
        ),
        ((0, 45678), "Its label is that of total: no voxel moved in the validation cases."),
        (None, None),
    ],
)
def test_how_far_a_head_moves_the_label_is_told(annotator, shift, said):
    state = annotator.session.state
    known = LabelShift("total", *shift) if shift else None
    models = {name: replace(model, label_shift=known) for name, model in state.info.models.items()}
    state.info = replace(state.info, models=models)
    annotator.session.changed.emit()
    lines = annotator.segment.ui.aboutLabel.text.splitlines()
    assert (lines[-1] == said) if said else not any("Its label" in line for line in lines)


def test_run_shows_the_label_and_the_first_map(annotator, server, host):
    annotator.run()
    assert annotator.status == f"{annotator.session.state.sample.id} segmented by {server.baseline}."
    assert names(annotator.scene.segmentation) == [label.name for label in annotator.segment.model.labels]
    shown = annotator.scene.maps[annotator.scene.shown]
    assert annotator.scene.shown == annotator.scene.wanted
    assert host.slice_view("Red").composite_node.GetForegroundVolumeID() == shown.GetID()
    assert annotator.session.state.result.structures
    assert not annotator.scene.edited


def test_progress_is_shown_and_run_cannot_be_pressed_twice(annotator):
    annotator.click(annotator.segment.ui.runButton)
    assert annotator.panel.ui.progressBar.visible
    assert not annotator.segment.ui.runButton.isEnabled()
    annotator.wait()
    assert annotator.segment.ui.runButton.isEnabled()


@pytest.mark.parametrize(("answer", "stays"), [("Cancel", True), ("Ok", False)])
def test_running_again_loses_edits_only_with_consent(annotator, answer, stays):
    annotator.run()
    before = annotator.scene.segmentation
    annotator.scene.edited = True
    annotator.desktop.answers.buttons.append(answer)
    annotator.run()
    assert (annotator.scene.segmentation is before) == stays


def test_an_existing_segmentation_is_shown_with_the_risk_that_the_model_sees(annotator, tmp_path):
    ui, known = annotator.segment.ui, [label.name for label in annotator.segment.model.labels]
    masks, node = segment_and_copy(annotator, {known[0]: known[0].upper(), known[1]: "something else"})
    annotator.choose(ui.startComboBox, SCENE)
    ui.segmentationComboBox.setCurrentNode(node)
    assert ui.partsLabel.text.startswith("Asking which labels")
    annotator.wait()
    assert ui.partsLabel.text.startswith("1 of 3 segments are labels of the model.")
    annotator.choose(ui.partsTable.cellWidget(1, 1), f"2  {known[1]}")
    assert ui.partsLabel.text == "2 of 3 segments are labels of the model.\nNot scored: stent."
    assert ui.runButton.text == "Estimate the risk of this segmentation"
    annotator.picture(tmp_path / "parts.png")
    annotator.run()

    state, scene = annotator.session.state, annotator.scene
    assert not state.is_error, state.message
    assert names(scene.segmentation) == [*known, "stent"]
    for name, mask in zip([*known, "stent"], masks.values(), strict=True):
        np.testing.assert_array_equal(drawn(annotator, name), mask)
    assert state.base.key != state.result.key
    assert state.result.regions
    assert state.result.remaining_error_ml > 0
    assert scene.shown == "error_probability"
    assert set(np.unique(np.asarray(nib.load(state.model_label).dataobj))) == {0, 1, 2}  # the model's own, for clicks
    risk = slicer.util.arrayFromVolume(scene.maps["error_probability"])
    missing = np.zeros(risk.shape, bool)
    missing[:, :, : risk.shape[2] // 2] = (
        True  # where the pieces were cut off, the model is sure that something is missing
    )
    assert risk[missing].max() > 0.9
    volumes = {row.name: row.volume_ml for row in state.result.structures}
    voxel_ml = (
        abs(np.linalg.det(nib.load(next(iter(annotator.session.folder.rglob("label.nii")))).affine[:3, :3])) / 1e3
    )
    assert volumes[known[0]] == pytest.approx(masks[known[0].upper()].sum() * voxel_ml, rel=0.01)
    assert not scene.edited
    assert not node.GetDisplayNode().GetVisibility()
    annotator.session.close_case()
    assert node.GetScene() is not None
    assert node.GetDisplayNode().GetVisibility()


def test_a_label_of_the_server_can_be_reviewed(annotator, server, tmp_path):
    image = annotator.session.state.sample.id
    scan = nib.load(server.studies / f"{image}.nii.gz")
    label = np.zeros(scan.shape, np.uint8)
    label[5:12, 5:12, 5:12] = 1
    nib.Nifti1Image(label, scan.affine).to_filename(tmp_path / "label.nii.gz")
    assert server.put_label(image, tmp_path / "label.nii.gz").status_code == 200
    try:
        annotator.cases.cases.open(image)
        annotator.wait()
        assert annotator.segment.ui.startComboBox.currentText == "the label on the server"
        assert annotator.segment.ui.runButton.text == "Estimate the risk of this label"
        annotator.run()
        name = annotator.segment.model.labels[0].name
        assert drawn(annotator, name).sum() == label.sum()
        assert "the label that was there" in annotator.status
        assert annotator.scene.shown == "error_probability"
    finally:
        server.remove_label(image)


def test_a_segmentation_on_another_grid_is_taken_with_a_word(annotator):
    known = annotator.segment.model.labels[0].name
    _masks, node = segment_and_copy(annotator, {known: known})
    half = np.eye(4)
    half[:3, 3] = 0.5
    node.SetAndObserveTransformNodeID(add_transform(half).GetID())
    annotator.choose(annotator.segment.ui.startComboBox, SCENE)
    annotator.segment.ui.segmentationComboBox.setCurrentNode(node)
    annotator.wait()
    annotator.run()
    assert annotator.status.endswith("TotalSegmentator lies on another grid: its nearest voxels were taken.")


def test_an_empty_segmentation_is_said_where_it_is_chosen(annotator, host):
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    ui = annotator.segment.ui
    annotator.choose(ui.startComboBox, SCENE)
    assert ui.partsLabel.text == "Choose a segmentation."
    ui.segmentationComboBox.setCurrentNode(node)
    assert ui.partsLabel.text.startswith("nothing is empty")
    assert not ui.runButton.isEnabled()


def test_a_segmentation_that_is_deleted_is_not_offered_any_more(annotator, host):
    node = add_segmentation(annotator.scene.scan, {annotator.segment.model.labels[0].name: np.zeros((1, 1, 1))}, "gone")
    ui = annotator.segment.ui
    annotator.choose(ui.startComboBox, SCENE)
    ui.segmentationComboBox.setCurrentNode(node)
    annotator.wait()
    assert ui.runButton.isEnabled()
    host.scene.RemoveNode(node)
    assert not ui.runButton.isEnabled()


def test_a_transform_on_the_scan_is_said(annotator):
    annotator.scene.scan.SetAndObserveTransformNodeID(add_transform(np.eye(4), "registration").GetID())
    annotator.run()
    assert "registration moves the scan" in annotator.status
    assert annotator.scene.segmentation is None


def test_a_scan_deleted_by_the_user_is_said(annotator, host):
    host.scene.RemoveNode(annotator.scene.scan)
    annotator.run()
    assert "no longer in the scene" in annotator.status


def test_a_scene_closed_during_the_run_is_said(annotator, host):
    annotator.click(annotator.segment.ui.runButton)
    host.clear()
    annotator.session.close_case()
    annotator.wait()
    assert "closed meanwhile" in annotator.status
    assert annotator.scene.segmentation is None


@pytest.mark.parametrize("answer", [False, True])
def test_a_model_of_another_modality_runs_only_with_consent(annotator, monkeypatch, answer):
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_, **__: asked.append(text) or answer)
    stranger = "phantom" if TASK == "hippocampus" else "hippocampus"
    annotator.choose(annotator.segment.ui.taskComboBox, stranger)
    annotator.choose(annotator.segment.ui.modelComboBox, "deterministic")
    annotator.run()
    case = annotator.session.state.sample.id
    assert len(asked) == 1
    assert asked[0].startswith(f"{case} ")
    assert asked[0].endswith("Run the model anyway?")
    ran = f"{case} segmented by {stranger}_deterministic."
    assert annotator.status == (ran if answer else f"{stranger}_deterministic was not run on {case}.")
    assert (annotator.scene.segmentation is not None) == answer
    annotator.choose(annotator.segment.ui.taskComboBox, TASK)
    annotator.choose(annotator.segment.ui.modelComboBox, "deterministic")


def test_cancel_keeps_the_case(annotator):
    annotator.click(annotator.segment.ui.runButton)
    annotator.click(annotator.panel.ui.cancelButton)
    annotator.wait()
    assert annotator.status == "Cancelled."
    assert annotator.scene.scan.GetScene() is not None
    assert annotator.segment.ui.runButton.isEnabled()


def test_lists_among_the_settings_reach_the_server(annotator):
    import qt

    ui, state = annotator.segment.ui, annotator.session.state
    settings.remember("runs", "")

    def option(name: str):
        return slicer.util.findChildren(ui.optionsWidget, name=f"{name}Option")[-1]

    try:
        annotator.choose(ui.methodComboBox, "tta")
        option("scales").setText("0.75, 1")
        annotator.run()
        assert "Run with method tta, " in annotator.status
        assert annotator.status.endswith("scales (0.75, 1.0).")
        annotator.choose(ui.methodComboBox, "ensemble")
        models = option("models")
        assert models.count > 0
        for row in range(1, models.count):
            models.item(row).setCheckState(qt.Qt.Unchecked)
        annotator.run()
        assert not state.is_error, state.message
        assert state.result.provenance["params"]["method"] == "ensemble"
        models.item(0).setCheckState(qt.Qt.Unchecked)
        annotator.run()
        assert annotator.status == "models: choose 1 at least."
    finally:
        settings.remember("runs", "")
