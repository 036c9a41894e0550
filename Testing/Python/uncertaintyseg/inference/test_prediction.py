"""What a prediction leaves in a folder."""

from __future__ import annotations

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.data.segments import Segment, segments_in
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor


@pytest.fixture
def prediction(tiny_bundle, scan) -> Prediction:
    return Predictor(tiny_bundle("low_rank", 3)).predict(scan, samples=4)


def test_files_hold_what_the_prediction_holds(prediction, scan, tmp_path):
    report = prediction.save(tmp_path / "out")
    label = nib.load(report["label"])
    assert label.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(label.dataobj), prediction.label)
    assert np.allclose(label.affine, nib.load(scan).affine, atol=1e-5)
    assert report["maps"].keys() == prediction.maps.keys()
    for name, path in report["maps"].items():
        image, (low, high) = nib.load(path), prediction.map_info[name].range
        assert image.header.get_data_dtype() == np.uint16
        assert np.abs(image.get_fdata() - prediction.maps[name]).max() < 1e-4 * (high - low)
    risk = nib.load(report["maps"]["error_probability"]).get_fdata(dtype=np.float32)
    assert (risk >= prediction.maps["error_probability"]).all()


def test_the_label_says_what_its_numbers_are(prediction, tmp_path):
    prediction.save(tmp_path)
    assert segments_in(tmp_path / "label.nii.gz") == [Segment(row.name, row.id) for row in prediction.structures]


def test_the_report_is_json_with_absolute_paths(prediction, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = prediction.save("out")
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(report))
    assert report["label"] == str(tmp_path / "out" / "label.nii.gz")
    assert report.keys() == {
        "label", "maps", "structures", "regions", "remaining_error_ml", "risk_coverage", "driven_by", "guarantee",
        "guarantee_reason", "case_score", "case_scores", "provenance", "seconds", "threshold", "size_unit", "axis",
        "spacing_mm", "frames",
    }  # fmt: skip
    assert (report["threshold"], report["size_unit"], report["axis"]) == (None, "mL", None)
    assert report["spacing_mm"] == pytest.approx(np.linalg.norm(prediction.affine[:3, :3], axis=0))
    assert report["frames"] is None
    assert report["regions"] == [region.model_dump() for region in prediction.regions]
    assert report["case_scores"]["predictive_entropy"] == report["case_score"]
    assert {row["name"] for row in report["structures"]} == {"organ", "lesion"}
    assert report["seconds"] == report["provenance"]["seconds"]


def test_the_same_prediction_writes_the_same_bytes(prediction, tmp_path):
    for folder in ("one", "two"):
        prediction.save(tmp_path / folder)
    for path in (tmp_path / "one").glob("*.nii.gz"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_folder_that_cannot_be_written_is_named(prediction, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/label\.nii\.gz: cannot be written"):
        prediction.save(tmp_path / "file")


def test_a_damaged_map_leaves_an_earlier_result_alone(prediction, tmp_path):
    prediction.save(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    broken = {name: np.full_like(value, np.nan) for name, value in prediction.maps.items()}
    with pytest.raises(InputError, match="NaN"):
        dataclasses.replace(prediction, maps=broken, label=prediction.label + 1).save(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_report_lists_first_what_is_expected_to_be_most_wrong(prediction, tmp_path):
    rows = [
        row.model_copy(update={"expected_error_ml": ml})
        for row, ml in zip(prediction.structures, (0.2, 0.7), strict=True)
    ]
    report = dataclasses.replace(prediction, structures=rows, regions=prediction.regions[::-1]).save(tmp_path)
    assert [row["name"] for row in report["structures"]] == ["lesion", "organ"]
    errors = [region["expected_error_ml"] for region in report["regions"]]
    assert errors == sorted(errors, reverse=True)
