"""Evaluation on labelled cases, against a model whose answer is known."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan, write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor

AFFINE, SHAPE = np.diag([3.0, 3.0, 6.0, 1.0]), (20, 18, 12)
AFFINE[:3, 3] = -AFFINE[:3, :3] @ ((np.array(SHAPE) - 1) / 2)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    return Predictor(tiny.write_threshold_bundle(tmp_path_factory.mktemp("models")))


@pytest.fixture
def data(tmp_path):
    """Two equal blobs: one labelled as the model sees it, one with half of it left out."""
    for name in ("full", "half"):
        tiny.write_blob(tmp_path / "images" / f"{name}.nii.gz", AFFINE, SHAPE)
        organ = read_scan(tmp_path / "images" / f"{name}.nii.gz").numpy()[0] > -60
        if name == "half":
            organ[: SHAPE[0] // 2] = False
        write_volume(tmp_path / "labels" / f"{name}.nii.gz", organ.astype(np.uint8), AFFINE)
    return tmp_path


def test_scores_agree_with_their_definitions(predictor, data):
    result = evaluate(predictor, read_cases(data))
    probabilities, references, dice = [], [], []
    for name in ("full", "half"):
        prediction = predictor.predict(data / "images" / f"{name}.nii.gz")
        reference = np.asarray(nib.load(data / "labels" / f"{name}.nii.gz").dataobj)
        probabilities.append(prediction.maps["probability_organ"])
        references.append(reference)
        dice.append(2 * (prediction.label & reference).sum() / (prediction.label.sum() + reference.sum()))
    p, t = np.stack(probabilities), np.stack(references)
    own = np.clip(np.where(t == 1, p, 1 - p), 1e-12, 1)
    confidence, right = np.maximum(p, 1 - p), (p > 0.5) == (t == 1)
    bins = np.digitize(confidence, np.linspace(0, 1, 16)[1:-1], right=True)
    ece = sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    assert (result["model"], result["n"], result["ece_bins"]) == ("tiny_deterministic", 2, 15)
    assert dice[0] == 1
    assert result["structures"]["organ"]["dice"]["mean"] == pytest.approx(np.mean(dice))
    assert result["structures"]["organ"]["dice"]["lo"] == pytest.approx(dice[1])
    assert result["structures"]["organ"]["dice"]["hi"] == pytest.approx(1.0)
    assert result["nll"] == pytest.approx(-np.log(own).mean(), rel=1e-4)
    assert result["ece"] == pytest.approx(ece, abs=1e-6)
    assert [case["id"] for case in result["cases"]] == ["full", "half"]
    assert [case["dice"]["organ"] for case in result["cases"]] == pytest.approx(dice)
    assert result["seconds_per_case"] == pytest.approx(np.mean([c["seconds"] for c in result["cases"]]), abs=1e-3)


def test_the_coverage_of_volume_intervals_is_a_share_of_the_cases(predictor, data, tmp_path):
    assert evaluate(predictor, read_cases(data))["structures"]["organ"]["volume_95_coverage"] is None
    coherent = Predictor(tiny.write_threshold_bundle(tmp_path / "models", "low_rank", rank=2))
    result = evaluate(coherent, read_cases(data))
    held = {case["id"]: case["in_volume_95"]["organ"] for case in result["cases"]}
    assert held["half"] is False  # half the organ is far from all that the model takes for plausible
    assert result["structures"]["organ"]["volume_95_coverage"] == sum(held.values()) / 2


def test_a_structure_absent_from_label_and_reference_counts_for_nothing(predictor, data):
    dark = np.full(SHAPE, -160, np.float32)
    dark[0, 0, 0] = -150
    write_volume(data / "images" / "none.nii.gz", dark, AFFINE)
    write_volume(data / "labels" / "none.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    result = evaluate(predictor, read_cases(data))
    assert math.isnan(next(case for case in result["cases"] if case["id"] == "none")["dice"]["organ"])
    kept = [case["dice"]["organ"] for case in result["cases"] if case["id"] != "none"]
    assert result["structures"]["organ"]["dice"]["mean"] == pytest.approx(np.mean(kept))


def test_a_label_stored_the_other_way_round_is_turned_to_its_scan(predictor, data):
    path = data / "labels" / "full.nii.gz"
    label = nib.load(path)
    turned = label.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(label.affine), nib.orientations.axcodes2ornt("PIL"))
    )
    write_volume(path, np.asarray(turned.dataobj), turned.affine)
    result = evaluate(predictor, read_cases(data))
    assert result["cases"][0]["dice"]["organ"] == 1


def test_progress_names_the_case_at_work_and_ends_at_one(predictor, data):
    said = []
    evaluate(predictor, read_cases(data), lambda *what: said.append(what))
    assert said == [("full", 0.0), ("half", 0.5), ("done", 1.0)]


def test_an_unknown_class_in_a_label_is_named(predictor, data):
    wrong = np.zeros(SHAPE, np.uint8)
    wrong[3, 3, 3] = 4
    write_volume(data / "labels" / "half.nii.gz", wrong, AFFINE)
    with pytest.raises(InputError, match=r"half\.nii\.gz: unknown class id 4"):
        evaluate(predictor, read_cases(data))


def test_data_without_any_label_is_refused(predictor, data):
    with pytest.raises(InputError, match=r"no labelled case .*labels/"):
        evaluate(predictor, [Case("x", data / "images" / "full.nii.gz", None)])
