"""Whatever is drawn where nobody gave a verdict: nothing that is measured changes."""

from __future__ import annotations

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.audit import audit
from uncertaintyseg.inference.calibrating import calibrate
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.inspection import inspect
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.overlap import dice
from uncertaintyseg.review.calibration import FEWEST
from uncertaintyseg.simulation.cell import _measure


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    path = tiny.write_bundle(tmp_path_factory.mktemp("models"), **tiny.COARSE_MODEL)
    return Predictor(tiny.give_random_weights(path))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partial")
    tiny.write_phantoms(folder, FEWEST, first=40, **tiny.COARSE)
    for case in read_cases(folder):
        volume = nib.load(case.label)
        seen = np.zeros(volume.shape, np.uint8)
        seen[: volume.shape[0] // 2 + 2] = 1
        write_volume(folder / "verified" / f"{case.id}.nii.gz", seen, volume.affine)
    return folder


@pytest.fixture(scope="module")
def cases(phantoms) -> list[Case]:
    return read_cases(phantoms)


@pytest.fixture(scope="module")
def scribbled(phantoms, tmp_path_factory) -> list[Case]:
    """The same cases with anything at all where nobody has looked."""
    folder = tmp_path_factory.mktemp("scribbled") / "data"
    shutil.copytree(phantoms, folder)
    cases = read_cases(folder)
    for case in cases:
        volume, seen = nib.load(case.label), np.asarray(nib.load(case.verified).dataobj)
        drawn = np.random.default_rng(1).integers(0, 3, seen.shape)
        write_volume(case.label, np.where(seen == 1, volume.dataobj, drawn).astype(np.uint8), volume.affine)
    return cases


def without_times(result: dict) -> dict:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in result["cases"]]
    return {**result, "seconds_per_case": None, "cases": rows}


def test_an_evaluation(predictor, cases, scribbled):
    one, other = (without_times(evaluate(predictor, given[:3])) for given in (cases, scribbled))
    np.testing.assert_equal(one, other)
    prediction = predictor.predict(cases[0].image).label
    label, seen = (np.asarray(nib.load(path).dataobj) for path in (cases[0].label, cases[0].verified))
    row, known = one["cases"][0], seen == 1
    assert row["ignored_voxels"] == (~known).sum() > 0
    assert row["dice"]["organ"] == pytest.approx(dice((prediction == 1)[known], (label == 1)[known]), nan_ok=True)


def test_a_calibration(predictor, cases, scribbled):
    one, other = (calibrate(predictor, given) for given in (cases, scribbled))
    assert one.cases == other.cases


def test_an_audit(predictor, cases, scribbled):
    one, other = (audit(predictor, given[:2]) for given in (cases, scribbled))
    assert one == other
    assert one["ignored_voxels"].keys() == {case.id for case in cases[:2]}
    prediction = predictor.predict(cases[0].image)
    label, seen = (np.asarray(nib.load(path).dataobj) for path in (cases[0].label, cases[0].verified))
    (row,) = (row for row in one["structures"] if (row["case"], row["name"]) == (cases[0].id, "organ"))
    known, inside, p = seen == 1, label == 1, np.asarray(prediction.maps["probability_organ"])
    both = 2 * p[known & inside].sum(dtype=float)
    assert row["expected_dice"] == pytest.approx(both / (p[known].sum(dtype=float) + (known & inside).sum()), abs=1e-3)


def test_a_simulation(predictor, cases, scribbled):
    one, other = (_measure(predictor, given[:2]) for given in (cases, scribbled))
    assert one == other


def test_a_second_look(predictor, cases, tmp_path):
    predictor.predict(cases[0].image).save(tmp_path / "out")
    volume, seen = nib.load(cases[0].label), np.asarray(nib.load(cases[0].verified).dataobj)
    write_volume(tmp_path / "partial.nii.gz", np.where(seen == 1, volume.dataobj, 7).astype(np.uint8), volume.affine)
    found = inspect(tmp_path / "out", tmp_path / "partial.nii.gz", ignore=7)
    for item in predictor.bundle.labels:
        wrong = (found.label == item.id) != (np.asarray(volume.dataobj) == item.id)
        np.testing.assert_array_equal(found.mismatches[item.name] > 0, wrong & (seen == 1))


def test_a_case_without_any_verdict_is_no_case(predictor, cases, tmp_path):
    volume = nib.load(cases[0].label)
    write_volume(tmp_path / "none.nii.gz", np.zeros(volume.shape, np.uint8), volume.affine)
    blank = replace(cases[0], verified=tmp_path / "none.nii.gz")
    assert evaluate(predictor, [blank, cases[1]])["failed"].keys() == {blank.id}
    assert audit(predictor, [blank, cases[1]])["failed"].keys() == {blank.id}
    with pytest.raises(InputError, match=f"case {blank.id}: none of the voxels"):
        calibrate(predictor, [blank, *cases[1:]])
