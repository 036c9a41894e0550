"""Telling scans from elsewhere by risk maps, with a model whose answer is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.metrics import roc_auc_score

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.ood import AGGREGATIONS, check_strangers, evaluate_with_ood
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.measures import MEASURES

AFFINE, SHAPE = np.diag([3.0, 3.0, 6.0, 1.0]), (20, 18, 12)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    return Predictor(tiny.write_threshold_bundle(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Three labelled scans, and three of the same in which half of the contrast is gone, without labels."""
    data, other = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("other")
    for number in range(3):
        random = np.random.default_rng(number)
        organ = np.zeros(SHAPE, np.uint8)
        organ[4:12, 5 : 11 + number, 3:8] = 1
        scan = (np.where(organ, 60, -160) + random.normal(0, 25, SHAPE)).astype(np.float32)
        write_volume(data / "images" / f"case_{number}.nii.gz", scan, AFFINE)
        write_volume(data / "labels" / f"case_{number}.nii.gz", organ, AFFINE)
        write_volume(other / "images" / f"case_{number}.nii.gz", (scan + 50) / 2 - 50, AFFINE)
    return data, other


def test_every_map_and_aggregation_agrees_with_its_definition(predictor, folders):
    data, other = map(read_cases, folders)
    result = evaluate_with_ood(predictor, data, other)
    found = result["ood"]
    plain = evaluate(predictor, data)
    assert json.dumps(result["structures"]) == json.dumps(plain["structures"])  # where NaN is NaN
    assert (found["n_inside"], found["n_outside"], found["failed"]) == (3, 3, {})
    share = np.mean([np.asarray(nib.load(case.label).dataobj).mean() for case in data])
    assert found["foreground_share"] == pytest.approx(share)
    assert set(found["maps"]) == set(MEASURES)
    risks = [[predictor.predict(case.image).maps for case in side] for side in (data, other)]
    for name, row in found["maps"].items():
        inside, outside = ([maps[name].astype(np.float64) for maps in side] for side in risks)
        threshold = np.mean([np.quantile(risk, 1 - share) for risk in inside])
        assert row["threshold"] == pytest.approx(threshold, rel=1e-4, abs=1e-5)  # of float32
        for kind in AGGREGATIONS:
            scores = [[_number(kind, risk, row["threshold"]) for risk in side] for side in (inside, outside)]
            said = [[c["scores"][name][kind] for c in found["cases"] if c["outside"] == side] for side in (False, True)]
            assert said == [pytest.approx(side, rel=1e-5, abs=1e-9) for side in scores]
            assert row[kind]["mean"] == pytest.approx(roc_auc_score([0] * 3 + [1] * 3, np.ravel(said)))
    assert found["maps"]["predictive_entropy"]["mean"]["mean"] == 1  # half the contrast is less sure everywhere


def _number(kind: str, risk: np.ndarray, threshold: float) -> float:
    if kind == "above_threshold":
        above = risk > np.float32(threshold)
        return risk[above].mean() if above.any() else threshold
    return risk.mean() if kind == "mean" else sliding_window_view(risk, (10, 10, 10)).mean((-3, -2, -1)).max()


def test_a_scan_that_cannot_be_used_is_named_and_the_others_are_told(predictor, folders, tmp_path):
    data, other = folders
    shutil.copytree(other, tmp_path / "other")
    (tmp_path / "other" / "images" / "case_1.nii.gz").write_bytes(b"none")
    found = evaluate_with_ood(predictor, read_cases(data), read_cases(tmp_path / "other"))["ood"]
    assert (found["n_outside"], list(found["failed"])) == (2, ["case_1"])
    for number in (0, 2):
        (tmp_path / "other" / "images" / f"case_{number}.nii.gz").write_bytes(b"none")
    with pytest.raises(InputError, match="none of 3 other scans can be used"):
        evaluate_with_ood(predictor, read_cases(data), read_cases(tmp_path / "other"))


def test_a_scan_that_is_in_both_is_refused_whatever_its_name_and_file(folders, tmp_path):
    data, other = folders
    check_strangers(read_cases(data), read_cases(other), 1)
    shutil.copytree(other, tmp_path / "other")
    same = nib.load(data / "images" / "case_2.nii.gz")
    nib.save(same, tmp_path / "other" / "images" / "stranger.nii")
    with pytest.raises(InputError, match=r"1 of the 4 scans .* first 'stranger' \('case_2' in DATA\)"):
        check_strangers(read_cases(data), read_cases(tmp_path / "other"), 1)
