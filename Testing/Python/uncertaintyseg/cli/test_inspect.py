"""`uncertaintyseg inspect` on what `predict` really wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.inference.inspection import inspect
from uncertaintyseg.inference.predictor import Predictor


def values(path: Path | str) -> np.ndarray:
    return nib.load(path).get_fdata()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, scan) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    bundle = tiny.give_random_weights(tiny.write_bundle(folder / "models"))
    Predictor(bundle).predict(scan).save(folder / "prediction")
    return folder / "prediction"


@pytest.fixture
def prediction(saved, tmp_path) -> Path:
    """A prediction of organ and lesion that a test may write to."""
    return Path(shutil.copytree(saved, tmp_path / "prediction"))


def test_the_picture_of_an_image_tells_no_mm(command, tmp_path, monkeypatch):
    bundle = tiny.give_random_weights(flat.write_flat_bundle(tmp_path / "models"))
    scan = flat.write_png(tmp_path / "a.png", flat.frame(0)[0])
    Predictor(bundle).predict(scan).save(tmp_path / "prediction")
    monkeypatch.setitem(matplotlib.rcParams, "savefig.format", "svg")
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text stays text
    picture = command("inspect", tmp_path / "prediction", "--json").json["picture"]
    drawn = Path(picture).read_text(encoding="utf-8")
    assert "The image</text>" in drawn
    assert " mm" not in drawn


@pytest.fixture(scope="module")
def reference(phantoms) -> Path:
    return next(case.label for case in read_cases(phantoms) if case.id == "case_0")


def test_json_holds_shapes_scores_and_paths(command, prediction, reference):
    found = command("inspect", prediction, "--reference", reference, "--json").json
    assert found.keys() == {"structures", "size_unit", "cleaned", "expected_errors", "files", "picture"}
    assert found["cleaned"] is None
    assert {row["name"] for row in found["structures"]} == {"organ", "lesion"}
    label, truth = values(prediction / "label.nii.gz"), values(reference)
    affine = nib.load(reference).affine
    for row in found["structures"]:
        inside, right = label == row["id"], truth == row["id"]
        p = values(prediction / f"probability_{row['name']}.nii.gz")
        anomaly = row["anomaly"]
        assert anomaly["expected"] == pytest.approx(np.where(inside, 1 - p, p).sum() / inside.sum(), rel=1e-4)
        assert anomaly["against_reference"] == pytest.approx((inside ^ right).sum() / right.sum())
        assert row["volume_ml"] == pytest.approx(inside.sum() * voxel_volume_ml(affine), rel=1e-4)
    error = values(prediction / "error_probability.nii.gz")
    assert found["expected_errors"] == pytest.approx(error.sum() / (label > 0).sum(), rel=1e-4)
    names = {f"{kind}_{name}.nii.gz" for kind in ("anomaly", "mismatch") for name in ("organ", "lesion")}
    assert {Path(path).name for path in found["files"]} == names
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in [*found["files"], found["picture"]])


def test_heat_maps_are_expected_and_counted_mismatch_on_the_grid_of_the_label(command, prediction, reference):
    command("inspect", prediction, "--reference", reference)
    label = nib.load(prediction / "label.nii.gz")
    inside, p = values(prediction / "label.nii.gz") == 1, values(prediction / "probability_organ.nii.gz")
    heat = nib.load(prediction / "anomaly_organ.nii.gz")
    np.testing.assert_allclose(heat.affine, label.affine)
    np.testing.assert_allclose(heat.get_fdata(), np.where(inside, 1 - p, p), atol=1e-4)
    assert np.array_equal(values(prediction / "mismatch_organ.nii.gz") == 1, inside ^ (values(reference) == 1))


@pytest.mark.parametrize("options", [[], ["--image"]])
def test_the_picture_shows_heat_with_and_without_the_scan(command, prediction, scan, options):
    ended = command("inspect", prediction, *options, *([scan] if options else []))
    assert (ended.code, ended.out) == (0, "")
    picture = matplotlib.image.imread(prediction / "inspection.png")[..., :3]
    assert (np.ptp(picture, axis=-1) > 0.25).mean() > 0.005


def test_without_json_a_table_goes_to_stderr(command, prediction, reference):
    ended = command("inspect", prediction)
    assert (ended.code, ended.out) == (0, "")
    assert "organ" in ended.err
    assert "anomaly_organ" in ended.err
    assert "mismatch" not in ended.err
    assert "mismatch_organ" in command("inspect", prediction, "--reference", reference).err


def test_a_prediction_of_nothing_has_null_scores(command, tmp_path):
    bundle = tiny.write_threshold_bundle(tmp_path / "models")
    dark = np.full((12, 12, 8), -150, np.float32)
    dark[0] = -160
    write_volume(tmp_path / "dark.nii.gz", dark, np.diag([3, 3, 6, 1.0]))
    Predictor(bundle).predict(tmp_path / "dark.nii.gz").save(tmp_path / "out")
    write_volume(tmp_path / "none.nii.gz", np.zeros(dark.shape, np.uint8), np.diag([3, 3, 6, 1.0]))
    found = command("inspect", tmp_path / "out", "--reference", tmp_path / "none.nii.gz", "--json").json
    (organ,) = found["structures"]
    assert (organ["flag"], organ["volume_ml"], organ["centroid_mm"]) == ("absent", 0, None)
    assert (organ["anomaly"]["expected"], organ["anomaly"]["against_reference"]) == (None, None)
    assert found["expected_errors"] is None
    assert "absent" in command("inspect", tmp_path / "out").err


def test_a_label_is_cleaned_first_only_when_asked(command, prediction):
    before = values(prediction / "label.nii.gz")
    rough = command("inspect", prediction, "--json").json
    assert rough["structures"][1]["components"] > 1
    assert not (prediction / "label_clean.nii.gz").exists()
    found = command("inspect", prediction, "--largest", "1", "--json").json
    assert found["structures"][1]["components"] == 1
    assert found["cleaned"] == {"closing_mm": 0, "smallest": 0, "largest": {"": 1}}
    clean = values(prediction / "label_clean.nii.gz")
    assert np.array_equal(values(prediction / "label.nii.gz"), before)
    changed = clean != before
    assert changed.any()
    p = {i: values(prediction / f"probability_{name}.nii.gz") for i, name in ((1, "organ"), (2, "lesion"))}
    error = np.select([clean == 0, clean == 1, clean == 2], [p[1] + p[2], 1 - p[1], 1 - p[2]])
    assert found["expected_errors"] == pytest.approx(error.sum() / (clean > 0).sum(), rel=1e-3)


def test_each_structure_keeps_as_many_pieces_as_it_is_said_to_have(command, prediction):
    label = values(prediction / "label.nii.gz")
    pieces = {number: np.bincount(ndimage.label(label == number)[0].ravel())[1:] for number in (1, 2)}
    assert min(map(len, pieces.values())) > 2
    ended = command("inspect", prediction, "--largest", "1", "--largest", "lesion=2")
    assert "Cleaned first: the largest 1 of each other structure kept, the largest 2 of lesion kept." in " ".join(
        ended.err.split()
    )
    clean = values(prediction / "label_clean.nii.gz")
    assert [np.count_nonzero(clean == number) for number in (1, 2)] == [
        pieces[1].max(), np.sort(pieces[2])[-2:].sum(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("lesion=0", "--largest lesion=0: give how many pieces stay, 1 or more, for one structure NAME=2."),
        ("most", "--largest most: give how many pieces stay"),
        ("cyst=2", "there is no structure 'cyst' in the prediction; it has "),
    ],
)
def test_pieces_that_cannot_be_counted_are_refused(command, prediction, asked, said):
    assert said in command("inspect", prediction, "--largest", asked).message


@pytest.mark.parametrize(("spacing", "unit", "shown"), [(0.5, "mm2", "mm²"), (None, "px", "pixels")])
def test_small_pieces_of_an_image_are_dropped_by_their_area(command, tmp_path, spacing, unit, shown):
    bundle = tiny.give_random_weights(flat.write_flat_bundle(tmp_path / "models"))
    frame = flat.frame(0)[0]
    scan = flat.write_png(tmp_path / "a.png", frame)
    if spacing is not None:
        scan = tmp_path / "a.nii.gz"
        nib.Nifti1Image(frame.T[..., None], np.diag([spacing, spacing, 9.0, 1.0])).to_filename(scan)
    Predictor(bundle).predict(scan).save(tmp_path / "out")
    label = values(tmp_path / "out" / "label.nii.gz")
    least = 20 * (spacing**2 if spacing else 1)  # 20 pixels
    ended = command("inspect", tmp_path / "out", "--smallest", f"{least}", "--json")
    assert (ended.json["size_unit"], ended.json["cleaned"]["smallest"]) == (unit, least)
    clean = values(tmp_path / "out" / "label_clean.nii.gz")
    for number in (1, 2):
        pieces, _count = ndimage.label(label == number)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        np.testing.assert_array_equal(clean == number, sizes[pieces] >= 20)
    assert f"pieces below {least:g} {shown} dropped" in " ".join(
        command("inspect", tmp_path / "out", "--smallest", f"{least}").err.split()
    )


def test_one_slice_is_measured_and_drawn_in_its_plane(command, prediction):
    for path in prediction.glob("*.nii.gz"):
        image = nib.load(path)
        nib.Nifti1Image(np.asarray(image.dataobj)[:, 15:16], image.affine).to_filename(path)
    found = command("inspect", prediction, "--json").json
    assert found["structures"][0]["area_mm2"] > 0
    assert found["structures"][0]["surface_mm2"] is None
    assert Path(found["picture"]).stat().st_size > 5000


def test_oblique_and_flipped_grids_are_drawn_too(command, prediction):
    turned = np.array([[0, 0, -6, 40], [3.0, 0.4, 0, -10], [-0.4, 3.0, 0, 5], [0, 0, 0, 1]])
    for path in prediction.glob("*.nii.gz"):
        image = nib.load(path)
        nib.Nifti1Image(np.asarray(image.dataobj), turned).to_filename(path)
    assert command("inspect", prediction).code == 0


def test_a_folder_without_a_prediction_is_named(command, tmp_path):
    assert "report.json: no such file; give a folder that `uncertaintyseg predict` wrote" in (
        command("inspect", tmp_path).message
    )


def test_damaged_files_are_named(command, prediction):
    (prediction / "error_probability.nii.gz").write_bytes(b"short")
    assert "error_probability.nii.gz: missing or not a readable map" in command("inspect", prediction).message
    (prediction / "report.json").write_text('{"structures": [{"name": "organ"}]}')
    assert "report.json: not a report of this program (structures.0.id" in command("inspect", prediction).message
    (prediction / "report.json").write_text("{")
    assert "report.json: not a report of this program (file" in command("inspect", prediction).message


def test_a_map_of_another_grid_is_named(command, prediction):
    write_volume(prediction / "probability_lesion.nii.gz", np.zeros((2, 2, 2), np.float32), np.eye(4))
    message = command("inspect", prediction).message
    assert "probability_lesion.nii.gz: not a map of probabilities on the grid of label.nii.gz" in message


def test_a_reference_that_does_not_fit_is_named(command, prediction, tmp_path, reference):
    image = nib.load(reference)
    write_volume(tmp_path / "small.nii.gz", values(reference)[:-1].astype(np.uint8), image.affine)
    assert "is not that of the scan" in command("inspect", prediction, "--reference", tmp_path / "small.nii.gz").message
    write_volume(tmp_path / "other.nii.gz", 7 * (values(reference) > 0).astype(np.uint8), image.affine)
    assert "unknown class id 7" in command("inspect", prediction, "--reference", tmp_path / "other.nii.gz").message


def test_the_library_says_the_same_as_the_command(prediction, reference):
    found = inspect(prediction, reference)
    assert {row.name for row in found.shapes} == {"organ", "lesion"}
    assert found.mismatches["organ"].sum() > 0
    assert not list(prediction.glob("anomaly_*"))  # nothing is written before `save`


def test_a_reference_is_read_by_the_numbers_of_the_models_data_set(command, saved, scan, reference, tmp_path):
    """A model that calls 1 what its data set calls 7, and 2 what that calls 1, finds the same errors in its files."""
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models"))
    metadata = json.loads((bundle.folder / METADATA).read_text(encoding="utf-8"))
    metadata["uncertainty"]["values"] = {"7": 1, "1": 2}
    (bundle.folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    Predictor(Bundle.load(bundle.folder)).predict(scan).save(tmp_path / "prediction")
    label = values(reference).astype(np.uint8)
    theirs = np.array([0, 7, 1], np.uint8)[label]
    write_volume(tmp_path / "theirs.nii.gz", theirs, nib.load(reference).affine)
    found = command("inspect", tmp_path / "prediction", "--reference", tmp_path / "theirs.nii.gz", "--json").json
    for row in found["structures"]:
        inside = values(saved / "label.nii.gz") == row["id"]
        right = label == row["id"]
        assert row["anomaly"]["against_reference"] == pytest.approx((inside ^ right).sum() / right.sum())
    assert (
        "unknown class id 2; known are 0, 1, 7"
        in command("inspect", tmp_path / "prediction", "--reference", reference).message
    )


def test_where_a_reference_gives_no_verdict_nothing_is_compared(command, scan, reference, tmp_path):
    """By the number that the model's data set has for it, as by --ignore."""
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models"))
    metadata = json.loads((bundle.folder / METADATA).read_text(encoding="utf-8"))
    Predictor(Bundle.load(bundle.folder)).predict(scan).save(tmp_path / "plain")
    metadata["uncertainty"]["ignore"] = 9
    (bundle.folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    Predictor(Bundle.load(bundle.folder)).predict(scan).save(tmp_path / "told")
    drawn = values(reference).astype(np.uint8)
    drawn[: drawn.shape[0] // 2] = 9
    write_volume(tmp_path / "partial.nii.gz", drawn, nib.load(reference).affine)
    told = command("inspect", tmp_path / "told", "--reference", tmp_path / "partial.nii.gz", "--json").json
    asked = command(
        "inspect", tmp_path / "plain", "--reference", tmp_path / "partial.nii.gz", "--ignore", 9, "--json"
    ).json
    assert told["structures"] == asked["structures"]
    assert (
        "unknown class id 9"
        in command("inspect", tmp_path / "plain", "--reference", tmp_path / "partial.nii.gz").message
    )
