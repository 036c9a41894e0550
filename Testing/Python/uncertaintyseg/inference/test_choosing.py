"""Which map drives: figures against the definition, the choice, and what it may not be made on."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.calibrating import calibrate, write_calibration
from uncertaintyseg.inference.choosing import best_driver, check_apart, ranking_figures
from uncertaintyseg.inference.predictor import Predictor


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    tiny.write_phantoms(folder, 10, first=60, **tiny.COARSE)
    return read_cases(folder)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tiny.write_bundle(tmp_path_factory.mktemp("models"), "segwithu", **tiny.COARSE_MODEL)
    return Predictor(tiny.give_random_weights(path))


def area(risk: np.ndarray, wrong: np.ndarray) -> float:
    """Mean over coverages of the errors among the voxels of least risk; ties at their mean."""
    order = np.argsort(risk.ravel(), kind="stable")
    ranked, lost = risk.ravel()[order], wrong.ravel()[order].astype(float)
    _, group = np.unique(ranked, return_inverse=True)
    lost = (np.bincount(group, lost) / np.bincount(group))[group]
    return float(np.mean(np.cumsum(lost) / np.arange(1, lost.size + 1)))


def test_figures_are_areas_under_the_curve_of_risk_and_coverage(predictor, cases):
    figures = ranking_figures(predictor, cases[:2])
    assert set(figures) >= {"error_probability", "margin_risk", "ranking", "probe_variance"}
    for name in ("predictive_entropy", "ranking", "probe_variance"):
        areas = []
        for case in cases[:2]:
            prediction = predictor.predict(case.image)
            reference = read_case_label(case, {"organ": 1, "lesion": 2}, like=read_scan(case.image))[0].numpy()
            areas.append(area(prediction.maps[name], prediction.label != reference))
        assert figures[name] == pytest.approx(np.mean(areas), rel=1e-3), name


def test_figures_do_not_depend_on_the_calibration_in_use(predictor, cases):
    before = ranking_figures(predictor, cases[:1])
    write_calibration(predictor.bundle, calibrate(predictor, cases, by="ranking"))
    assert ranking_figures(predictor, cases[:1]) == before


def test_a_map_of_the_heads_own_drives(predictor, cases):
    driven = calibrate(predictor, cases, by="ranking")
    write_calibration(predictor.bundle, driven)
    prediction = predictor.predict(cases[0].image, alpha=0.9)
    assert prediction.driven_by == "ranking"
    assert (prediction.maps["error_probability"] == driven.recalibrated(prediction.maps["ranking"])).all()


def test_the_least_area_drives_and_nothing_but_a_better_map_replaces_the_error_probability():
    assert best_driver({"variance": 0.3, "error_probability": 0.2, "ranking": 0.1}) == "ranking"
    assert best_driver({"variance": 0.2, "error_probability": 0.2, "ranking": 0.2}) == "error_probability"


def test_a_map_is_not_chosen_on_calibration_cases(cases):
    check_apart(cases[:5], cases[5:])
    same = Case("another name", cases[3].image, cases[3].label)
    with pytest.raises(InputError, match=r"case_63.*is both a calibration and a validation case"):
        check_apart(cases[:5], [same])


def test_a_choice_needs_a_label_and_the_model_as_it_is(predictor, cases):
    with pytest.raises(InputError, match="no labelled case to choose a map on"):
        ranking_figures(predictor, [Case("a", cases[0].image, None)])
    with pytest.raises(InputError, match="as it is, without method"):
        ranking_figures(Predictor(predictor.bundle, method="tta"), cases[:1])
