"""`evaluate --ood`: what is told, drawn and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume


@pytest.fixture
def other(windows, tmp_path) -> Path:
    """Two of the scans with noise that no scan of DATA has, under their names."""
    for number in range(2):
        found = nib.load(windows / "images" / f"case_{number}.nii.gz")
        noise = np.random.default_rng(number).normal(0, 80, found.shape)
        noisy = (np.asarray(found.dataobj) + noise).astype(np.float32)
        write_volume(tmp_path / "other" / "images" / f"case_{number}.nii.gz", noisy, found.affine)
    return tmp_path / "other"


@pytest.fixture
def model(tmp_path) -> tuple[object, ...]:
    bundle = tiny.write_threshold_bundle(tmp_path / "models", window=(24, 24, 12))
    return bundle.name, "--models", bundle.folder.parent


@pytest.fixture
def organs(windows, tmp_path) -> Path:
    """The scans with labels of the one structure that the model knows."""
    for path in windows.glob("*/*.nii.gz"):
        found = nib.load(path)
        values = np.asarray(found.dataobj)
        if path.parent.name == "labels":
            values = (values == 1).astype(np.uint8)
        write_volume(tmp_path / "organs" / path.relative_to(windows), values, found.affine)
    return tmp_path / "organs"


def test_scans_from_elsewhere_are_told_in_a_table_in_json_and_in_a_picture(command, model, organs, other, tmp_path):
    (tmp_path / "ids.txt").write_text("case_0 case_1 case_2")
    options = [*model, organs, "--cases", tmp_path / "ids.txt", "--ood", other]
    found = command("evaluate", *options, "--picture", tmp_path / "all.png", "--json").json
    assert (found["n"], found["ood"]["n_inside"], found["ood"]["n_outside"]) == (3, 3, 2)
    area = found["ood"]["maps"]["predictive_entropy"]["largest_patch"]
    assert 0 <= area["lo"] <= area["mean"] <= area["hi"] <= 1
    assert (tmp_path / "all.png").stat().st_size > 10_000
    assert (tmp_path / "all_ood.png").stat().st_size > 10_000
    told = command("evaluate", *options)
    assert told.code == 0
    assert "AUROC of telling 2 other scans from 3" in " ".join(told.err.split())
    assert "margin_risk" in told.err


def test_data_itself_and_scans_of_it_are_no_other_data(command, model, organs, other):
    assert "is DATA itself" in command("evaluate", *model, organs, "--ood", organs / ".." / organs.name).message
    shutil.copy(organs / "images" / "case_5.nii.gz", other / "images" / "another.nii.gz")
    message = command("evaluate", *model, organs, "--ood", other).message
    assert "1 of the 3 scans of --ood are in DATA too" in message
    assert "'another' ('case_5' in DATA)" in message


def test_cases_that_the_model_has_learnt_from_are_no_strangers(command, model, organs, other, tmp_path):
    parts = {"train": ["case_9"], "validation": ["case_0"], "calibration": [], "test": []}
    (tmp_path / "models" / model[0] / "split.json").write_text(json.dumps(parts))
    (other / "images" / "case_1.nii.gz").rename(other / "images" / "case_9.nii.gz")
    message = command("evaluate", *model, organs, "--cases", "all", "--ood", other).message
    assert "has learnt from 1 of its cases, first 'case_9'" in message


def test_a_scan_of_the_others_that_cannot_be_used_is_told(command, model, organs, other):
    (other / "images" / "case_1.nii.gz").write_bytes(b"none")
    ended = command("evaluate", *model, organs, "--ood", other)
    assert ended.code == 1
    assert "case_1 of --ood was not used" in ended.err
