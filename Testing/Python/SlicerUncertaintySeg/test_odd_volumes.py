"""Scans, labels, maps and names as nobody wants them, and as they come all the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.test_lost_connection import sent_labels
from Testing.Python.SlicerUncertaintySeg.whole_panel import STAY

_CORNER, _ORGAN = (10, 10, 5), (26, 20, 11)


def serve(server, folder: Path, what: str, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Have the server send other voxels as the "scan", the "label" or the "risk"."""
    path = folder / f"{what}.nii.gz"
    nib.Nifti1Image(voxels, affine).to_filename(path)
    server.replace(what, path)


def change_result(server, **risk) -> None:
    """Have the server's next result differ in some fields."""
    job = server.job_result
    job["risk"].update(risk)
    server.job_result = job


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, -1)])
def test_on_every_orientation_of_an_oblique_grid_the_label_that_is_sent_is_voxel_exact(
    user, full_server, phantom_case, tmp_path, flips
):
    """Infer, click, edit, submit: in the voxels of the file nothing has moved."""
    affine = nib.load(phantom_case.scan).affine @ np.diag([*flips, 1.0])
    files = {what: np.asarray(nib.load(getattr(phantom_case, what)).dataobj) for what in ("scan", "label")}
    risk = np.clip(nib.load(phantom_case.risk).get_fdata(), 0, 1).astype(np.float32)
    for what, voxels in {**files, "risk": risk}.items():
        serve(full_server, tmp_path, what, voxels, affine)
    user.begin(full_server.url)
    np.testing.assert_array_equal(user.drawn(), files["label"])
    user.key("C")
    user.click_at(_ORGAN)
    user.wait()
    (_path, asked), *_ = [body for body in list(full_server.bodies) if body[0].endswith("condition")]
    assert asked == {"organ": [list(_ORGAN)]}
    user.key("C")
    user.paint(_CORNER, 2.1)
    expected = files["label"].copy()
    ijk = np.indices(expected.shape).reshape(3, -1).T
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    near = np.linalg.norm((ijk - _CORNER) * spacing, axis=1) <= 2.1
    expected[tuple(ijk[near].T)] = 1
    np.testing.assert_array_equal(user.drawn(), expected)
    user.press("Edit", "submitButton")
    (sent,) = sent_labels(full_server, tmp_path)
    np.testing.assert_array_equal(sent, expected)
    _query, _name, content, _params = next(upload for upload in list(full_server.uploads) if upload[0])
    (tmp_path / "sent.nii").write_bytes(content)
    np.testing.assert_allclose(nib.load(tmp_path / "sent.nii").affine, affine, atol=1e-3)


def test_a_transform_on_the_scan_is_said_before_a_model_runs_and_does_not_move_what_is_sent(user, full_server):
    user.begin(full_server.url)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = slicer.util.vtkMatrixFromArray(np.array([[0, -1, 0, 9], [1, 0, 0, 3], [0, 0, 1, 7], [0, 0, 0, 1.0]]))
    transform.SetMatrixTransformToParent(matrix)
    before = user.drawn()
    user.scene.scan.SetAndObserveTransformNodeID(transform.GetID())
    user.run()
    said = "The transform moved moves the scan or its segmentation: take it off first."
    assert user.status == said
    assert user.ui("Edit").emptyLabel.text == said
    user.key("C")
    assert user.status == said
    user.press_everything(STAY)
    np.testing.assert_array_equal(user.drawn(), before)
    user.scene.scan.SetAndObserveTransformNodeID(None)
    user.paint(_CORNER)
    np.testing.assert_array_equal(user.drawn() != before, (user.drawn() == 1) & (before == 0))


@pytest.mark.parametrize("kind", ["4D", "vector", "flat", "nan"])
def test_a_scan_of_the_server_that_is_none_or_odd_is_shown_or_refused_in_a_sentence(user, full_server, tmp_path, kind):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    voxels = {
        "4D": np.zeros((8, 9, 5, 3), np.int16),
        "vector": np.zeros((8, 9, 5, 1, 3), np.float32),
        "flat": np.zeros((8, 9, 1), np.int16),
        "nan": np.full((8, 9, 5), np.nan, np.float32),
    }[kind]
    user.begin(full_server.url)
    user.watch.vtk_expected = True
    serve(full_server, tmp_path, "scan", voxels, affine)
    before = user.scene.scan
    user.next_case()
    if kind in ("4D", "vector"):
        assert user.status.startswith("phantom_2.nii holds several volumes or values in each voxel")
        assert user.scene.scan is before
    else:
        assert slicer.util.arrayFromVolume(user.scene.scan).shape == voxels.shape[::-1]
    if kind != "vector":  # what is refused leaves the panel as "4D" does
        user.press_everything()


def test_a_scan_that_is_no_image_leaves_the_case_before_as_it_was(user, full_server, tmp_path):
    """Clicks and edits of it included."""
    user.begin(full_server.url)
    user.key("C")
    user.click_at(_ORGAN)
    user.wait()
    user.key("C")
    user.paint(_CORNER)
    drawn = user.drawn()
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(gzip.compress(b"nothing"))
    full_server.replace("scan", broken)
    user.watch.vtk_expected = True
    user.desktop.answers.buttons.append("Ok")
    user.next_case()
    assert user.status.endswith("cannot be read as an image: is it complete?")
    np.testing.assert_array_equal(user.drawn(), drawn)
    assert user.regions.clicks.count == 1
    user.press("Edit", "undoButton")
    user.press("Edit", "undoButton")
    assert user.regions.clicks.count == 0


@pytest.mark.parametrize(
    ("shift", "value", "said"), [(1.0, 0, "does not lie on the grid of the scan"), (0.0, 9, "holds label 9")]
)
def test_a_label_that_does_not_belong_to_the_case_is_refused_and_the_one_before_stays(
    user, full_server, phantom_case, tmp_path, shift, value, said
):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    image = nib.load(phantom_case.label)
    voxels, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
    affine[:3, 3] += shift
    voxels[0, 0, 0] = value
    serve(full_server, tmp_path, "label", voxels, affine)
    user.desktop.answers.buttons.append("Ok")
    user.run()
    assert said in user.status
    np.testing.assert_array_equal(user.drawn(), drawn)
    if value:  # the other is refused as well, and leaves the panel as this one does
        user.press_everything()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_map_of_odd_values_can_be_shown_and_used(user, full_server, phantom_case, tmp_path, value):
    image = nib.load(phantom_case.risk)
    voxels = image.get_fdata().astype(np.float32)
    voxels[10:30, 10:30, 5:15] = value
    if not value:
        voxels[:] = 0.0
    serve(full_server, tmp_path, "risk", voxels, image.affine)
    user.begin(full_server.url)
    assert user.scene.shown
    user.press_everything()


def test_a_map_on_another_grid_than_the_scan_can_be_shown_and_does_no_harm(user, full_server, tmp_path):
    voxels = np.random.default_rng(0).random((7, 6, 5), np.float32)
    serve(full_server, tmp_path, "risk", voxels, np.diag([3.0, 3.0, 3.0, 1.0]))
    user.begin(full_server.url)
    drawn = user.drawn()
    user.press_everything(STAY)
    np.testing.assert_array_equal(user.drawn(), drawn)


_NAMES = ("<b>bold</b><img src=x>", "肝臓 🫀 " * 40, "a" * 300, "{brace} %s \\", "")


def test_names_of_the_server_are_shown_as_they_are(user, full_server):
    from PySide6 import QtCore

    name = "<b>liver</b> 🫀 {x}"
    info = json.loads(json.dumps(full_server.info).replace("organ", name))
    full_server.info = info
    job = json.loads(json.dumps(full_server.job_result).replace('"organ"', json.dumps(name)))
    for entry, text in zip(job["risk"]["structures"], _NAMES, strict=False):
        entry["flag"] = text
    job["risk"]["provenance"]["model"] = _NAMES[0]
    full_server.job_result = job
    user.begin(full_server.url)
    combo_box = user.ui("Risk").structureComboBox
    assert f"1  {name}" in [combo_box.itemText(index) for index in range(combo_box.count)]
    plain = QtCore.Qt.TextFormat.PlainText
    for section in user.panel.sections.values():
        for widget_name, widget in vars(section.ui).items():
            if widget_name.endswith("Label") and ("<" in widget.text):
                assert widget.textFormat == plain, widget_name
    user.press_everything()


def test_a_case_with_a_wild_name_goes_the_whole_way(user, full_server):
    name = "../..//<i>ca se</i>🫀%2e{x}"
    full_server.refusals["/activelearning/"] = (
        200,
        json.dumps({"id": name, "score": 1, "reason": "<h1>why</h1>"}).encode(),
    )
    user.begin(full_server.url)
    assert user.ui("Cases").caseLabel.text == name
    user.paint(_CORNER)
    user.edit.safekeeping.autosave()
    assert user.drafts()
    user.press_everything()


def many(count: int) -> tuple[list[dict], list[dict]]:
    """Labels and rows of so many structures."""
    labels = [{"id": number, "name": f"structure number {number}", "rgb": None} for number in range(1, count + 1)]
    rows = [{"name": label["name"], "id": label["id"], "volume_ml": 1.0} for label in labels]
    return labels, rows


@pytest.mark.parametrize("count", [1, 60])
def test_one_structure_or_sixty(user, full_server, phantom_case, tmp_path, count):
    labels, rows = many(count)
    image = nib.load(phantom_case.label)
    voxels = np.asarray(image.dataobj).copy()
    voxels[voxels > 0] = 1 + np.indices(voxels.shape).sum(0)[voxels > 0] % count
    serve(full_server, tmp_path, "label", voxels, image.affine)
    job = full_server.job_result
    job |= {"labels": labels, "label_names": {label["name"]: label["id"] for label in labels}}
    job["risk"] |= {"structures": rows, "regions": []}
    full_server.job_result = job
    user.begin(full_server.url)
    np.testing.assert_array_equal(user.drawn(), voxels)
    user.press_everything()


def test_nothing_found_by_the_model_can_be_drawn_on_and_an_empty_label_is_asked_about(
    user, full_server, phantom_case, tmp_path
):
    image = nib.load(phantom_case.label)
    empty = np.zeros(image.shape, np.uint8)
    serve(full_server, tmp_path, "label", empty, image.affine)
    change_result(full_server, structures=[], regions=[], risk_coverage=[], remaining_error_ml=0.0, maps={})
    user.begin(full_server.url)
    assert user.ui("Regions").progressLabel.text == "The model doubts no region."
    user.press("Edit", "submitButton")
    assert user.desktop.answers.asked[-1].startswith("All segments of phantom_1 are empty.")
    assert not list(full_server.uploads)
    user.paint(_ORGAN)
    user.press("Edit", "submitButton")
    (sent,) = sent_labels(full_server, tmp_path)
    assert sent.any()
    user.press_everything()


def point(threshold: float, coverage: float, **errors: float) -> dict:
    """A row of the server's curve."""
    return {"threshold": threshold, "coverage": coverage, "reviewed_ml": 1.0, "regions": 1, **errors}


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [point(0.5, 0.99)],
        [point(0.5, 1.0, expected_error=0.0, lo=0.0, hi=0.0)] * 2,
        [point(0.1, 0.9), point(0.2, 0.5)],
    ],
    ids=["none", "one point", "one calibrated point, twice", "one that falls"],
)
def test_a_curve_of_few_points_or_none_is_told(user, full_server, curve):
    promise = {"kind": "crc", "alpha": 0.1, "threshold": 0.5, "text": "at most 10 % wrong"}
    change_result(full_server, risk_coverage=curve, guarantee=promise, guarantee_reason=None, regions=[])
    user.begin(full_server.url, anyway=True)
    assert user.ui("Selection").sentenceLabel.text
    user.press_everything()


def test_a_scan_of_one_slice_goes_the_whole_way(user, full_server, phantom_case, tmp_path):
    files = {}
    for what in ("scan", "label", "risk"):
        image = nib.load(getattr(phantom_case, what))
        files[what] = image.get_fdata()[:, :, 11:12]
        affine = image.affine
    serve(full_server, tmp_path, "scan", files["scan"].astype(np.int16), affine)
    serve(full_server, tmp_path, "label", files["label"].astype(np.uint8), affine)
    serve(full_server, tmp_path, "risk", files["risk"].astype(np.float32), affine)
    change_result(full_server, regions=[], structures=[])  # the volumes there are those of the whole phantom
    models = full_server.info["models"]
    flat = {name: model | {"dimensions": 2} for name, model in models.items()}
    full_server.info = full_server.info | {"models": flat}
    user.begin(full_server.url)
    user.paint((10, 10, 0), 2.0)
    drawn = user.drawn()
    assert drawn.shape == (48, 44, 1)
    user.press("Edit", "submitButton")
    np.testing.assert_array_equal(sent_labels(full_server, tmp_path)[0], drawn)
    user.press_everything()
