"""Calibrating a model for real, and what its predictions say from then on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import CALIBRATION, WEIGHTS, Bundle, shipped_models
from uncertaintyseg.inference.calibrating import calibrate, write_calibration
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.result_key import result_key
from uncertaintyseg.review.coverage import UNCALIBRATED
from uncertaintyseg.review.promise import guarantee


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    tiny.write_phantoms(folder, 12, first=40, **tiny.COARSE)
    return read_cases(folder)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tiny.write_bundle(tmp_path_factory.mktemp("models"), **tiny.COARSE_MODEL)
    return Predictor(tiny.give_random_weights(path))


@pytest.fixture(scope="module")
def calibration(predictor, cases):
    return calibrate(predictor, cases, data="twelve phantoms")


@pytest.fixture
def bundle(predictor, calibration):
    write_calibration(predictor.bundle, calibration)
    yield predictor.bundle
    (predictor.bundle.folder / CALIBRATION).unlink()


def test_a_calibration_counts_the_errors_that_the_model_makes(predictor, calibration, cases):
    for case, curve in zip(cases, calibration.cases, strict=True):
        reference = read_case_label(case, {"organ": 1, "lesion": 2}, like=read_scan(case.image))[0].numpy()
        prediction = predictor.predict(case.image)
        wrong = prediction.label != reference
        assert curve.id == case.id
        assert curve.loss[-1] == pytest.approx(min(wrong.sum() / (reference > 0).sum(), 1), abs=2e-5)
        assert curve.reference_ml == pytest.approx((reference > 0).sum() * voxel_volume_ml(prediction.affine), abs=1e-4)
    assert calibration.weights_checksum == predictor.bundle.checksum


def test_progress_names_each_case(predictor, cases):
    seen = []
    calibrate(predictor, cases[:10], lambda stage, fraction: seen.append((stage, fraction)))
    assert seen == [*((case.id, i / 10) for i, case in enumerate(cases[:10])), ("done", 1.0)]


def test_predictions_of_a_calibrated_model_have_curve_and_promise(predictor, bundle, calibration, cases):
    prediction = predictor.predict(cases[0].image)
    assert prediction.provenance.calibration == calibration.checksum
    assert prediction.map_info["error_probability"].range == (0, 1)
    organ, lesion = (prediction.maps[f"probability_{name}"] for name in ("organ", "lesion"))
    own = 1 - np.choose(prediction.label, [1 - organ - lesion, organ, lesion])
    assert np.abs(prediction.maps["error_probability"] - calibration.recalibrated(own)).max() < 1e-4
    assert len(prediction.risk_coverage) > 1
    assert prediction.guarantee is None  # 12 cases
    assert "12 calibration cases" in prediction.guarantee_reason
    assert guarantee(bundle.calibration[0], 0.9).cases == 12


def assert_uncalibrated(curve):
    assert [point.threshold for point in curve] == list(UNCALIBRATED)
    assert {value for point in curve for value in (point.expected_error, point.lo, point.hi)} == {None}


def test_without_a_calibration_nothing_is_promised(predictor, cases):
    prediction = predictor.predict(cases[0].image)
    assert (prediction.guarantee, prediction.provenance.calibration) == (None, None)
    assert_uncalibrated(prediction.risk_coverage)
    assert "uncertaintyseg calibrate tiny_deterministic DATA" in prediction.guarantee_reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"method": "tta"}, "not with method"),
        ({"threshold": "otsu"}, "not with threshold"),
        ({"halvings": 1}, "other windows"),
    ],
)
def test_a_calibration_does_not_stand_for_another_way_to_run_the_model(bundle, cases, options, reason):
    other = Predictor(bundle, **options)
    prediction = other.predict(cases[0].image)
    assert prediction.guarantee is None
    assert_uncalibrated(prediction.risk_coverage)
    assert prediction.guarantee_reason.startswith("uncalibrated: ")
    assert reason in prediction.guarantee_reason


def test_a_calibration_does_not_stand_for_other_weights(bundle, calibration, tiny_bundle):
    other = tiny_bundle(seed=1, **tiny.COARSE_MODEL)
    with pytest.raises(InputError, match="weights changed while it was calibrated"):
        write_calibration(other, calibration)
    (other.folder / CALIBRATION).write_text(calibration.model_dump_json())
    assert other.calibration == (None, "uncalibrated: calibration.json belongs to other weights")
    assert bundle.calibration[0].checksum == calibration.checksum


def test_a_damaged_calibration_promises_nothing_and_stops_nobody(predictor, bundle, cases):
    (bundle.folder / CALIBRATION).write_text("{")
    prediction = predictor.predict(cases[0].image)
    assert prediction.guarantee is None
    assert "calibration.json cannot be used" in prediction.guarantee_reason


def test_calibrating_again_gives_the_same_curves(predictor, bundle, calibration, cases):
    again = calibrate(predictor, cases, data="twelve phantoms")
    assert again.model_dump(exclude={"created"}) == calibration.model_dump(exclude={"created"})


def test_results_of_another_calibration_have_another_name(predictor, calibration, cases):
    same = {"seed": 0, "samples": 8, "device": "cpu"}
    before = result_key(cases[0].image, predictor.bundle, **same)
    write_calibration(predictor.bundle, calibration)
    after = result_key(cases[0].image, predictor.bundle, **same)
    (predictor.bundle.folder / CALIBRATION).unlink()
    assert before != after
    assert result_key(cases[0].image, predictor.bundle, **same) == before


def test_only_the_model_as_it_is_can_be_calibrated(predictor, cases):
    with pytest.raises(InputError, match="a model is calibrated as it is, without method"):
        calibrate(Predictor(predictor.bundle, method="tta"), cases)
    with pytest.raises(InputError, match="10 labelled cases at least, not 3"):
        calibrate(predictor, cases[:3])


@pytest.fixture(scope="module")
def driven(predictor, cases):
    """By a map that is not the error probability, though it ranks alike with few classes."""
    return calibrate(predictor, cases, data="twelve phantoms", by="predictive_entropy")


@pytest.fixture
def driven_bundle(predictor, driven):
    write_calibration(predictor.bundle, driven)
    yield predictor.bundle
    (predictor.bundle.folder / CALIBRATION).unlink()


def test_a_map_that_drives_is_what_people_review_by(predictor, cases, driven, driven_bundle):
    prediction = predictor.predict(cases[0].image, alpha=0.9)
    error, entropy = prediction.maps["error_probability"], prediction.maps["predictive_entropy"]
    assert (error == driven.recalibrated(entropy)).all()
    assert prediction.driven_by == "predictive_entropy"
    assert "the map 'predictive_entropy'" in prediction.map_info["error_probability"].description
    assert prediction.provenance.calibration == driven.checksum
    reference = read_case_label(cases[0], {"organ": 1, "lesion": 2}, like=read_scan(cases[0].image))[0].numpy()
    wrong, volume = prediction.label != reference, (reference > 0).sum()
    for index, threshold in enumerate(driven.thresholds):
        left = min((wrong & (error <= threshold)).sum() / volume, 1)
        assert driven.cases[0].loss[index] == pytest.approx(left, abs=2e-5)
    for point in prediction.risk_coverage:
        assert point.coverage == pytest.approx((error <= point.threshold).mean(), abs=1e-6)
    assert [region.expected_error_ml for region in prediction.regions] == sorted(
        (region.expected_error_ml for region in prediction.regions), reverse=True
    )
    for row in prediction.structures:
        assert row.mean_risk == pytest.approx(error[prediction.label == row.id].mean(), abs=1e-4)


def test_the_report_says_which_map_drives(predictor, cases, driven_bundle, tmp_path):
    report = predictor.predict(cases[0].image).save(tmp_path)
    assert report["driven_by"] == "predictive_entropy"
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["driven_by"] == "predictive_entropy"


def test_a_scan_that_goes_through_files_is_driven_alike(predictor, cases, driven_bundle, monkeypatch, tmp_path):
    whole = predictor.predict(cases[0].image)
    monkeypatch.setattr("uncertaintyseg.inference.predictor.IN_MEMORY_BYTES", 0)
    streamed = predictor.predict(cases[0].image, scratch=tmp_path)
    assert isinstance(streamed.maps["error_probability"].base, np.memmap) or streamed.scratch.on_disk
    assert (streamed.maps["error_probability"] == whole.maps["error_probability"]).all()
    assert streamed.driven_by == whole.driven_by


@pytest.mark.parametrize("options", [{"method": "tta"}, {"threshold": "otsu"}, {"halvings": 1}])
def test_another_way_to_run_the_model_is_driven_by_its_own_error_probability(driven_bundle, cases, options):
    prediction = Predictor(driven_bundle, **options).predict(cases[0].image)
    assert (prediction.driven_by, prediction.guarantee) == ("error_probability", None)
    assert prediction.guarantee_reason.startswith("uncalibrated: ")
    own = 1 - np.choose(prediction.label, _probabilities(prediction))
    assert np.abs(prediction.maps["error_probability"] - own).max() < 1e-4


def _probabilities(prediction):
    organ, lesion = (np.asarray(prediction.maps[f"probability_{name}"]) for name in ("organ", "lesion"))
    return [1 - organ - lesion, organ, lesion]


def test_a_map_that_a_run_does_not_have_promises_nothing(predictor, cases, driven):
    write_calibration(predictor.bundle, driven.model_copy(update={"measure": "ranking"}))
    try:
        prediction = predictor.predict(cases[0].image)
    finally:
        (predictor.bundle.folder / CALIBRATION).unlink()
    assert (prediction.guarantee, prediction.driven_by) == (None, "error_probability")
    assert "calibrated by the map 'ranking', which this run does not have" in prediction.guarantee_reason


def test_a_model_is_calibrated_again_as_if_it_never_had_been(predictor, cases, calibration, driven, driven_bundle):
    same = {"exclude": {"created"}}
    assert calibrate(predictor, cases, data="twelve phantoms").model_dump(**same) == calibration.model_dump(**same)
    again = calibrate(predictor, cases, data="twelve phantoms", by="predictive_entropy")
    assert again.model_dump(**same) == driven.model_dump(**same)


def test_only_a_map_that_the_model_has_and_that_ranks_can_drive(predictor, cases):
    with pytest.raises(InputError, match="has no map 'ranking' to drive; it has variance, predictive_entropy"):
        calibrate(predictor, cases, by="ranking")
    with pytest.raises(InputError, match="'probability_organ'"):
        calibrate(predictor, cases, by="probability_organ")


def test_every_shipped_model_has_a_calibration_of_its_weights_that_promises_five_percent():
    for path in sorted(shipped_models().glob("*/configs/metadata.json")):
        bundle = Bundle.load(path.parents[1])
        if bundle.examples is not None:  # what it promised would hold for what it was shown
            continue
        calibration, reason = bundle.calibration
        assert reason is None, bundle.name
        assert calibration.n >= 40
        assert (bundle.folder / CALIBRATION).stat().st_size < 100_000
        assert 0 < guarantee(calibration).threshold < 1
        assert (
            json.loads((bundle.folder / CALIBRATION).read_text(encoding="utf-8"))["weights_checksum"] == bundle.checksum
        )
        assert (bundle.folder / WEIGHTS).is_file()
