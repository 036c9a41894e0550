"""Networks that come as TorchScript or as a MONAI bundle, by commands alone: to risk maps, an audit, a fitted head."""

from __future__ import annotations

import shutil

import pytest
import torch

from Testing.Python.uncertaintyseg.imports.test_torchscript_import import Ending
from Testing.Python.uncertaintyseg.imports.zoo import write_zoo_bundle
from Testing.Python.uncertaintyseg.tiny import SPACING

SCRIPT = (
    "--labels", "1=organ,2=lesion", "--spacing", ",".join(map(str, SPACING)), "--patch", "16", "--normalization",
    "ct:-160,240", "--activation", "none",
)  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def data(windows, tmp_path):
    """Two of them."""
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for name in ("case_0.nii.gz", "case_1.nii.gz"):
            shutil.copy(windows / part / name, tmp_path / "data" / part)
    return tmp_path / "data"


@pytest.fixture
def script(tmp_path):
    torch.jit.script(Ending().eval()).save(tmp_path / "net.ts")
    return tmp_path / "net.ts"


def test_a_torchscript_file_is_used_as_any_model(command, own, script, data, tmp_path):
    ended = command("import", script, *SCRIPT)
    assert ended.code == 0, ended.err
    assert "uncertaintyseg predict net SCAN" in ended.err
    scan = data / "images" / "case_0.nii.gz"
    for method in ("tta", "noise"):
        report = command("predict", "net", scan, "--output", tmp_path / method, "--method", method, "--json").json
        assert {row["name"] for row in report["structures"]} == {"organ", "lesion"}
        assert report["case_scores"]["mutual_information"] > 0
    rows = command("audit", data, "--model", "net", "--json").json["structures"]
    assert {row["name"] for row in rows} == {"organ", "lesion"}
    assert command("evaluate", "net", data, "--json").code == 0
    refused = command("predict", "net", scan, "--output", tmp_path / "no", "--method", "dropout_injection")
    assert "cannot reach into the layers of a TorchScript file" in refused.message


def test_a_temperature_is_fitted_to_a_torchscript_file(command, own, script, data):
    command("import", script, *SCRIPT)
    ended = command("train", "net", data, "--head", "temperature", "--output", own)
    assert ended.code == 0, ended.err
    scan = data / "images" / "case_0.nii.gz"
    report = command("predict", "net_temperature", scan, "--output", own.parent / "out", "--json").json
    assert {row["name"] for row in report["structures"]} == {"organ", "lesion"}


def test_a_bundle_shows_what_it_runs_and_is_used_once_trusted(command, own, data, tmp_path):
    write_zoo_bundle(tmp_path / "spleen")
    refused = command("import", tmp_path / "spleen")
    assert refused.code != 0
    assert "$import glob" in refused.err
    assert "--trust" in refused.err
    assert not own.exists()
    found = command("import", tmp_path / "spleen", "--trust", "--json").json
    assert found["labels"] == ["spleen"]
    assert "Spacingd" in found["runs"]
    scan = data / "images" / "case_0.nii.gz"
    passes = ("--method", "dropout_injection", "--option", "passes=3")
    report = command("predict", "spleen", scan, "--output", tmp_path / "out", *passes, "--json")
    assert report.code == 0, report.err
    assert report.json["case_scores"]["mutual_information"] > 0


def test_missing_options_are_one_line(command, own, script):
    message = command("import", script).message
    assert "--labels 1=liver,2=spleen --spacing 1.5,1.5,2 --patch 96,96,96 --normalization zscore" in message
    assert not own.exists()
