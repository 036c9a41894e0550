"""`evaluate --ood`: what is told, drawn and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.cli.parts import keep_learnt, shipped_scans_of
from uncertaintyseg.data.layouts import find_real_data, read_cases
from uncertaintyseg.data.splitting import read_split, shipped_scans
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.ood import check_strangers
from uncertaintyseg.training.variant import with_head


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


def test_cases_of_a_training_by_a_split_of_ones_own_are_no_strangers_either(command, models, windows, other, tmp_path):
    parts = {"train": ["case_0", "case_1"], "validation": ["case_2"], "calibration": [], "test": []}
    (tmp_path / "mine.json").write_text(json.dumps(parts))
    name, *where = models()
    trained = command(
        "train", name, windows, *where, "--epochs", 1, "--output", tmp_path / "runs", "--split", tmp_path / "mine.json"
    )
    assert trained.code == 0, trained.err
    for part in ("images", "labels"):
        for number in range(3):
            target = tmp_path / "new" / part / f"new_{number}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            found = nib.load(windows / part / f"case_{number}.nii.gz")
            write_volume(target, np.flip(np.asarray(found.dataobj), 0), found.affine)
    asked = (name, tmp_path / "new", "--models", tmp_path / "runs", "--cases", "all", "--ood", other)
    assert "has learnt from 2 of its cases, first 'case_0'" in command("evaluate", *asked).message


def test_what_a_shipped_model_has_learnt_from_is_known_by_its_voxels(shipped, tmp_path):
    """Also under another name and in another file, and by a head that somebody put on the shipped network."""
    case_id, folder = shipped
    scan = nib.load(folder / "images" / f"{case_id}.nii.gz")
    write_volume(tmp_path / "other" / "images" / "stranger.nii.gz", np.asarray(scan.dataobj), scan.affine)
    learnt = shipped_scans_of(find_bundle("hippocampus_deterministic"))
    with pytest.raises(InputError, match=f"learnt from 1 of the 1 scans of --ood.*'stranger' .'{case_id}' when"):
        check_strangers([], read_cases(tmp_path / "other"), 1, learnt=learnt)
    write_volume(tmp_path / "other" / "images" / "stranger.nii.gz", np.asarray(scan.dataobj) + 1.0, scan.affine)
    check_strangers([], read_cases(tmp_path / "other"), 1, learnt=learnt)


@pytest.fixture
def shipped() -> tuple[str, Path]:
    """A training case of the shipped hippocampus models."""
    folder = find_real_data("msd_hippocampus")
    if folder is None:
        pytest.skip("needs the hippocampus data")
    return read_split("msd_hippocampus")["train"][0], folder


def test_a_network_that_was_trained_here_as_a_whole_knows_none_of_them(tmp_path):
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path, task="hippocampus"))
    assert len(shipped_scans_of(bundle)) == 130  # as far as anybody can tell it is a shipped one
    keep_learnt(bundle, [])
    assert not shipped_scans_of(bundle)
    head = with_head(bundle, "diagonal", tmp_path)
    keep_learnt(head, [])
    assert len(shipped_scans_of(head)) == 130


@pytest.mark.parametrize(
    ("split", "task"), [("msd_hippocampus", "hippocampus"), ("phantom", "phantom"), ("ultrasound", "ultrasound")]
)
def test_the_scans_of_every_committed_split_are_listed(split, task):
    parts = read_split(split)
    assert sorted(shipped_scans(task).values()) == sorted([*parts["train"], *parts["validation"]])


def test_a_scan_of_the_others_that_cannot_be_used_is_told(command, model, organs, other):
    (other / "images" / "case_1.nii.gz").write_bytes(b"none")
    ended = command("evaluate", *model, organs, "--ood", other)
    assert ended.code == 1
    assert "case_1 of --ood was not used" in ended.err
