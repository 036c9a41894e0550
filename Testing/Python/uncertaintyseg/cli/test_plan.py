"""`uncertaintyseg plan` on small phantoms, and then everything on the model that it wrote."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.cli.plan import _page
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.planning.fingerprint import take_fingerprint
from uncertaintyseg.planning.plan import make_plan
from uncertaintyseg.training.left_out import without_left_out
from uncertaintyseg.training.variant import with_head


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SMALL = ("--features", 4, "--labels", "1=organ,2=lesion", "--spacing", "3,3,6", "--patch", "16,16,8")


def test_a_plan_is_trained_and_predicts(command, phantoms, tmp_path):
    runs = tmp_path / "runs"
    phantoms = shutil.copytree(phantoms, tmp_path / "data")  # a training keeps a split there, and others share these
    ended = command("plan", "phantom_of_mine", phantoms, *SMALL, "--steps", 4, "--output", runs, "--json")
    assert ended.code == 0, ended.err
    told = ended.json
    assert told["model"] == "phantom_of_mine_deterministic"
    assert told["cases"] == 6
    assert told["plan"]["step_measured"]
    assert told["plan"]["measured_bytes"] > 0
    assert (runs / told["model"] / "plan.html").read_text(encoding="utf-8").startswith("<!")
    assert f"--models {runs}" in told["next"][0]

    more = ("--models", runs, "--output", runs)
    trained = command("train", told["model"], phantoms, *more, "--epochs", 1, "--json")
    assert trained.code == 0, trained.err
    assert np.isfinite(trained.json["validation"]["dice"])
    head = command("train", told["model"], phantoms, *more, "--head", "laplace", "--json")
    assert head.code == 0, head.err
    scan = phantoms / "images" / "case_0.nii.gz"
    ended = command("predict", told["model"], scan, "--models", runs, "--output", tmp_path / "prediction")
    assert ended.code == 0, ended.err
    assert any((tmp_path / "prediction").rglob("*.nii.gz"))


def test_pictures_get_a_plan_of_two_dimensions_that_is_trained_and_predicts(command, tmp_path):
    data, runs = tmp_path / "data", tmp_path / "runs"
    flat.write_pictures(data, range(4))
    flat.write_clip(data, "clip", (4, 5))
    small = ("--features", 4, "--labels", "1=organ,2=core", "--steps", 2, "--no-trial", "--clahe", "--output", runs)
    told = command("plan", "flat", data, *small, "--json")
    assert told.code == 0, told.err
    assert (told.json["plan"]["dimensions"], told.json["plan"]["clahe"]) == (2, True)
    trained = command("train", "flat_deterministic", data, "--models", runs, "--output", runs, "--epochs", 1, "--json")
    assert trained.code == 0, trained.err
    for scan, frames in (("case_0.png", 1), ("clip", 2)):
        ended = command(
            "predict", "flat_deterministic", data / "images" / scan, "--models", runs, "--output", tmp_path / scan
        )
        assert ended.code == 0, ended.err
        assert nib.load(tmp_path / scan / "label.nii.gz").shape[2:] in {(frames,), ()}


def test_every_choice_is_explained_on_the_terminal(command, phantoms, tmp_path):
    ended = command("plan", "told", phantoms, *SMALL, "--no-trial", "--output", tmp_path / "runs")
    assert ended.code == 0, ended.err
    assert ended.out == ""
    words = " ".join(ended.err.split())
    for word in ("spacing", "normalisation", "patch", "kernels", "strides", "batch", "overlap", "mirroring", "--hours"):
        assert word in words
    assert "uncertaintyseg train told_deterministic" in words


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("../up",), "'../up' cannot be a model's name"),
        (("ok", "--labels", "liver"), "--labels liver: write it as value=name"),
        (("ok", "--labels", "1=organ,2=lesion", "--patch", "16,16"), "--patch 16,16: three numbers"),
        (("ok", "--labels", "1=organ,2=lesion", "--symmetries", "x"), "--symmetries x: axes 0, 1, 2"),
        (("ok", "--labels", "1=organ,2=lesion", "--budget", "huge"), "--budget huge: take cpu"),
        (("ok", "--structures", "spleen"), "spleen"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(command, phantoms, tmp_path, arguments, what):
    task, *options = arguments
    assert what in command("plan", task, phantoms, *options, "--output", tmp_path / "runs").message


def test_one_case_is_too_few(command, tmp_path):
    tiny.write_phantoms(tmp_path / "data", 1)
    assert "case" in command("plan", "one", tmp_path / "data", *SMALL, "--output", tmp_path / "runs").message


def test_a_bad_case_is_named_and_may_be_left_out(command, tmp_path):
    tiny.write_phantoms(tmp_path / "data", 4)
    path = tmp_path / "data" / "labels" / "case_2.nii.gz"
    image = nib.load(path)
    nib.Nifti1Image(np.asarray(image.dataobj)[:-2], image.affine).to_filename(path)
    plan = ("plan", "bad", tmp_path / "data", *SMALL, "--steps", 2, "--no-trial", "--output", tmp_path / "runs")
    message = command(*plan).err.splitlines()[-1]
    assert "case case_2" in message
    assert "--skip-bad" in message
    ended = command(*plan, "--skip-bad", "--json")
    assert ended.code == 0, ended.err
    assert (ended.json["cases"], ended.json["left_out"]) == (3, ["case_2"])
    where = ("--models", tmp_path / "runs", "--output", tmp_path / "runs")
    trained = command("train", "bad_deterministic", tmp_path / "data", *where, "--epochs", 1)
    assert trained.code == 0, trained.err
    assert "Left out, as by the plan: case_2." in " ".join(trained.err.split())
    parts = json.loads((tmp_path / "data" / "uncertaintyseg_split.json").read_text(encoding="utf-8"))
    assert sorted(case for ids in parts.values() for case in ids) == ["case_0", "case_1", "case_3"]
    head = with_head(Bundle.load(tmp_path / "runs" / "bad_deterministic"), "diagonal", tmp_path / "runs")
    assert without_left_out(head, read_cases(tmp_path / "data"))[1] == ["case_2"]


def test_a_page_that_cannot_be_written_leaves_a_model_that_is_whole_and_says_so(tmp_path):
    fingerprint = take_fingerprint(small_cases.make(tmp_path / "data"), cache=None, workers=0)
    made = make_plan(fingerprint, "gland", hours=1)
    with pytest.raises(InputError, match=r"cannot be written.*Only this page is missing.*gland_deterministic is whole"):
        _page(tmp_path / "data", fingerprint, made, tmp_path / "runs", lambda text, fraction: None)
