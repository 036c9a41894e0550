"""Calibrating new weights on cases that were kept for it."""

from __future__ import annotations

import pytest

from monailabel_app.app.labelled import LabelledCases, check_reserved
from monailabel_app.app.models import describe
from monailabel_app.jobs.calibrate import Calibrate
from monailabel_app.jobs.train import LabelledCase, as_cases
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle
from uncertaintyseg.inference.choosing import best_driver, ranking_figures
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.versions import last_driver


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> tuple[LabelledCase, ...]:
    folder = tmp_path_factory.mktemp("reserved")
    tiny.write_phantoms(folder, 10)
    images = sorted((folder / "images").glob("*.nii.gz"))
    return tuple((path.name, str(path), str(folder / "labels" / path.name), (), True) for path in images)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("shipped")))


def test_the_model_in_use_is_calibrated_and_a_shipped_one_stays_as_it_is(bundle, cases, tmp_path):
    stages = []
    work = Calibrate(str(bundle.folder), bundle.checksum, cases, str(tmp_path / "home"))
    answer = work.run(lambda *stage: stages.append(stage))
    assert answer == {
        "model": bundle.name, "checksum": bundle.checksum, "cases": 10, "driven_by": "error_probability",
    }  # fmt: skip
    calibration, reason = find_bundle(bundle.name, tmp_path / "home").calibration
    assert reason is None
    assert calibration.n == 10
    assert bundle.calibration[0] is None
    assert stages[-1][1] == 1.0


def test_a_map_may_be_named_or_chosen_on_the_validation_cases(bundle, cases, tmp_path):
    def calibrated(**how) -> str:
        work = Calibrate(str(bundle.folder), bundle.checksum, cases, str(tmp_path / "home"), **how)
        driven_by = work.run(lambda *_stage: None)["driven_by"]
        assert describe(find_bundle(bundle.name, tmp_path / "home")).driven_by == driven_by
        return driven_by

    figures = ranking_figures(Predictor(bundle), as_cases(cases[:2], tmp_path))
    assert calibrated(by="auto", validation=cases[:2]) == best_driver(figures)
    assert calibrated(by="margin_risk") == "margin_risk"
    assert last_driver(find_bundle(bundle.name, tmp_path / "home")) == "margin_risk"
    assert last_driver(bundle) == "error_probability"
    with pytest.raises(InputError, match="no labelled case to choose a map on"):
        calibrated(by="auto")


def test_too_few_cases_are_refused_with_how_to_reserve_more(bundle, cases):
    check_reserved(LabelledCases((), (), cases), bundle)
    with pytest.raises(InputError, match="9 labelled images are reserved to calibrate it; 10 are needed"):
        check_reserved(LabelledCases((), (), cases[:9]), bundle)
