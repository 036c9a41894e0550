"""Evaluation on labelled cases, against a model whose answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.metrics import average_precision_score, roc_auc_score

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.phantom import make_phantom
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.metrics.ambiguity import diversity, ged_squared, normalised_cross_correlation, rater_variance
from uncertaintyseg.metrics.cases import case_selection
from uncertaintyseg.metrics.overlap import Overlap, overlap
from uncertaintyseg.metrics.scopes import boundary_band

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


@dataclass
class Edited:
    """A predictor whose answers are changed, as any other method that segments scans would be."""

    predictor: Predictor
    edit: Callable[[Prediction, Path], Prediction]

    def __post_init__(self):
        self.bundle = self.predictor.bundle

    def predict(self, image):
        return self.edit(self.predictor.predict(image), image)


def reference_of(data: Path, name: str) -> np.ndarray:
    return np.asarray(nib.load(data / "labels" / f"{name}.nii.gz").dataobj)


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
    assert result["brier"] == pytest.approx((2 * (p - t) ** 2).mean(), rel=1e-4)
    entropy = -(p * np.log(np.maximum(p, 1e-12)) + (1 - p) * np.log(np.maximum(1 - p, 1e-12)))
    certainty = [1 - entropy[i][t[i] == 1].mean() / np.log(2) for i in range(2)]
    assert result["certainty"] == pytest.approx(np.mean(certainty), abs=1e-4)
    assert result["reliability"]["share"] == pytest.approx([(bins == b).mean() for b in range(15)])
    assert result["mce"] >= result["ece"]
    assert 0 <= result["structures"]["organ"]["ece"] < result["structures"]["organ"]["mce"]
    assert [case["id"] for case in result["cases"]] == ["full", "half"]
    assert [case["dice"]["organ"] for case in result["cases"]] == pytest.approx(dice)
    assert result["seconds_per_case"] == pytest.approx(np.mean([c["seconds"] for c in result["cases"]]), abs=1e-3)


def test_the_threshold_of_each_case_is_told(predictor, data):
    assert [case["threshold"] for case in evaluate(predictor, read_cases(data))["cases"]] == [None, None]
    cut = Predictor(predictor.bundle, threshold="percentile=70")
    for case in evaluate(cut, read_cases(data))["cases"]:
        p = predictor.predict(data / "images" / f"{case['id']}.nii.gz").maps["probability_organ"]
        assert case["threshold"] == pytest.approx(np.percentile(p, 70), abs=1e-6)


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
    failed = evaluate(predictor, read_cases(data))["failed"]
    assert failed.keys() == {"half"}
    assert "half.nii.gz: unknown class id 4" in failed["half"]


def test_data_without_any_label_is_refused(predictor, data):
    with pytest.raises(InputError, match=r"no labelled case .*labels/"):
        evaluate(predictor, [Case("x", data / "images" / "full.nii.gz", None)])


def test_every_structure_has_all_measures_of_overlap_with_intervals(predictor, data):
    result = evaluate(predictor, read_cases(data))
    spacing = (3.0, 3.0, 6.0)
    wanted = [
        overlap(
            predictor.predict(data / "images" / f"{name}.nii.gz").label == 1, reference_of(data, name) == 1, spacing
        )
        for name in ("full", "half")
    ]
    organ = result["structures"]["organ"]
    for field in Overlap._fields:
        values = [getattr(found, field) for found in wanted]
        assert organ[field]["mean"] == pytest.approx(np.mean(values)), field
        assert (organ[field]["lo"], organ[field]["hi"]) == pytest.approx((min(values), max(values))), field
    assert result["cases"][1]["structures"]["organ"] == pytest.approx(wanted[1]._asdict())
    assert (organ["missed"], organ["invented"]) == (0, 0)
    assert result["classes"]["macro_dice"] == organ["dice"]
    assert result["classes"]["accuracy"] == organ["accuracy"]


def test_structures_that_only_one_side_has_are_counted(predictor, data):
    write_volume(data / "labels" / "full.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    blind = Edited(predictor, lambda found, image: replace(found, label=found.label * (image.name == "full.nii.gz")))
    organ = evaluate(blind, read_cases(data))["structures"]["organ"]
    assert (organ["missed"], organ["invented"]) == (1, 1)
    assert organ["dice"]["mean"] == 0
    assert math.isnan(organ["hd95_mm"]["mean"])


def test_every_risk_map_is_judged_in_every_scope_on_the_cases_that_have_errors(predictor, data):
    result = evaluate(predictor, read_cases(data))
    assert {scope: set(rows) for scope, rows in result["error_detection"].items()} == {
        scope: set(MEASURES) for scope in ("all", "body", "boundary")
    }
    prediction, reference = predictor.predict(data / "images" / "half.nii.gz"), reference_of(data, "half")
    error, band = prediction.label != reference, boundary_band(reference, (3, 3, 6))
    for name, rows in result["error_detection"]["boundary"].items():
        risk = prediction.maps[name]
        assert rows["auroc"]["mean"] == pytest.approx(roc_auc_score(error[band], risk[band])), name
        everywhere = result["error_detection"]["all"][name]
        assert everywhere["ap"]["mean"] == pytest.approx(average_precision_score(error.ravel(), risk.ravel())), name
        # The other case has no error: its AUROC is undefined, its area is 0.
        assert rows["auroc"]["lo"] == rows["auroc"]["hi"]
        assert everywhere["aurc_x1000"]["lo"] == 0 < everywhere["aurc_x1000"]["mean"] < everywhere["aurc_x1000"]["hi"]
    aurocs = {name: rows["auroc"]["mean"] for name, rows in result["error_detection"]["boundary"].items()}
    assert aurocs[result["best_map"]] == max(aurocs.values())


def test_further_maps_of_a_method_are_judged_too(predictor, data):
    def knowing(found: Prediction, image: Path) -> Prediction:
        error = found.label != reference_of(data, image.name.removesuffix(".nii.gz"))
        return replace(found, maps=found.maps | {"oracle": error.astype(np.float32)})

    result = evaluate(Edited(predictor, knowing), read_cases(data))
    assert result["best_map"] == "oracle"
    assert result["error_detection"]["body"]["oracle"]["auroc"]["mean"] == 1
    assert result["error_detection"]["body"]["oracle"]["e_aurc_x1000"]["mean"] == pytest.approx(0)


def test_the_case_score_is_judged_by_the_dice_of_its_case(predictor, data):
    result = evaluate(predictor, read_cases(data))
    rows = result["cases"]
    wanted = case_selection([row["score"] for row in rows], [row["dice"]["organ"] for row in rows])
    assert result["case_risk_coverage"] == pytest.approx(wanted._asdict(), nan_ok=True)


def test_a_map_with_nan_is_named_with_its_case(predictor, data):
    def broken(found: Prediction, _: Path) -> Prediction:
        return replace(found, maps=found.maps | {"variance": np.full(SHAPE, np.nan, np.float32)})

    with pytest.raises(InputError, match="case full: map 'variance': the risk map is NaN"):
        evaluate(Edited(predictor, broken), read_cases(data))


def test_distances_do_not_depend_on_how_the_scan_lies_in_space(predictor, data, tmp_path):
    """Anisotropic voxels on an oblique grid: the same voxels give the same figures."""
    oblique = AFFINE.copy()
    oblique[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ AFFINE[:3, :3]
    predictions = {name: predictor.predict(data / "images" / f"{name}.nii.gz") for name in ("full", "half")}
    for name in predictions:
        image = read_scan(data / "images" / f"{name}.nii.gz").numpy()[0]
        write_volume(tmp_path / "oblique" / "images" / f"{name}.nii.gz", image, oblique)
        write_volume(tmp_path / "oblique" / "labels" / f"{name}.nii.gz", reference_of(data, name), oblique)

    def turned(_: Prediction, image: Path) -> Prediction:
        return replace(predictions[image.name.removesuffix(".nii.gz")], affine=oblique)

    straight = evaluate(predictor, read_cases(data))
    found = evaluate(Edited(predictor, turned), read_cases(tmp_path / "oblique"))
    for field, interval in straight["structures"]["organ"].items():
        if field in Overlap._fields:
            assert found["structures"]["organ"][field] == pytest.approx(interval), field
    for scope, rows in straight["error_detection"].items():
        for name, row in rows.items():
            assert found["error_detection"][scope][name]["auroc"] == pytest.approx(row["auroc"]), (scope, name)


def rater_of(data: Path, number: int, name: str = "full") -> np.ndarray:
    """What a rater of a case sees: the organ, a slice less for each number."""
    organ = read_scan(data / "images" / f"{name}.nii.gz").numpy()[0] > -60
    organ[:, :, : SHAPE[2] // 2 - 2 + number] = False
    write_volume(data / "raters" / f"{name}_{number}.nii.gz", organ.astype(np.uint8), AFFINE)
    return organ.astype(np.uint8)


def test_without_two_raters_of_one_case_there_is_no_ambiguity(predictor, data):
    assert evaluate(predictor, read_cases(data))["ambiguity"] is None
    for name in ("full", "half"):
        rater_of(data, 1, name)
    result = evaluate(predictor, read_cases(data))
    assert result["ambiguity"] is None
    assert [row["ambiguity"] for row in result["cases"]] == [None, None]


def test_a_head_without_whole_shapes_is_judged_by_its_label(predictor, data):
    raters = [rater_of(data, number) for number in (1, 2, 3)]
    result = evaluate(predictor, read_cases(data))
    prediction, found = predictor.predict(data / "images" / "full.nii.gz"), result["ambiguity"]
    wanted = ged_squared(prediction.label[None], np.stack(raters), 2)
    assert (found["n"], found["samples"], found["pairs"]) == (1, 1, "all")
    assert found["ged_squared"] == pytest.approx({"mean": wanted, "lo": wanted, "hi": wanted})
    assert (found["diversity"]["mean"], found["rater_diversity"]["mean"] > 0) == (0, True)
    assert math.isnan(found["ncc_variance"]["mean"])
    assert math.isnan(found["volume_95_coverage"]["mean"])
    assert result["cases"][0]["ambiguity"]["ged_squared"] == pytest.approx(wanted)
    assert result["cases"][1]["ambiguity"] is None


def test_whole_shapes_are_drawn_onto_the_scans_grid_and_set_against_the_raters(tmp_path):
    phantoms = [make_phantom((0, number), shape=tiny.SHAPE, spacing=tiny.SPACING) for number in range(2)]
    for number, phantom in enumerate(phantoms):
        volumes = {"images/{}": phantom.image, "labels/{}": phantom.label}
        volumes |= {f"raters/{{}}_{rater}": drawn for rater, drawn in enumerate(phantom.raters, start=1)}
        for place, volume in volumes.items():
            write_volume(tmp_path / f"{place.format(f'case_{number}')}.nii.gz", volume, phantom.affine)
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", "low_rank", 3, rank=2))
    predictor, cases = Predictor(bundle), read_cases(tmp_path)
    result = evaluate(predictor, cases)
    wanted = []
    for number, case in enumerate(cases):
        prediction = predictor.predict(case.image)
        samples = np.stack(list(predictor.samples(prediction, 16)))
        raters = phantoms[number].raters
        row = result["cases"][number]["ambiguity"]
        wanted.append(ged_squared(samples, raters, 3))
        assert row["ged_squared"] == pytest.approx(wanted[-1])
        assert row["diversity"] == pytest.approx(diversity(samples, 3)) != 0
        assert row["rater_diversity"] == pytest.approx(diversity(raters, 3))
        observed = rater_variance(raters, 3).astype(np.float32)
        ncc = normalised_cross_correlation(prediction.maps["variance"], observed)
        assert row["ncc_variance"] == pytest.approx(ncc)
        held = [
            low <= (rater == structure.id).sum() * voxel_volume_ml(prediction.affine) <= high
            for structure in prediction.structures
            for low, high in [structure.volume_ml_95]
            for rater in raters
        ]
        assert row["volume_95_coverage"] == pytest.approx(np.mean(held))
    assert (result["ambiguity"]["n"], result["ambiguity"]["samples"]) == (2, 16)
    assert result["ambiguity"]["ged_squared"]["mean"] == pytest.approx(np.mean(wanted))


def test_a_case_that_fails_late_has_no_part_in_any_figure(predictor, data):
    rater_of(data, 1)
    write_volume(data / "raters" / "full_2.nii.gz", np.full(SHAPE, 3), AFFINE)
    cases = read_cases(data)
    found, alone = evaluate(predictor, cases), evaluate(predictor, [case for case in cases if case.id != "full"])
    assert found["failed"].keys() == {"full"}
    assert "full_2.nii.gz: unknown class id 3" in found["failed"]["full"]
    for key in alone.keys() - {"failed", "cases", "seconds_per_case"}:
        np.testing.assert_equal(found[key], alone[key])


def test_the_result_is_json(predictor, data):
    assert json.loads(json.dumps(evaluate(predictor, read_cases(data))))["n"] == 2
