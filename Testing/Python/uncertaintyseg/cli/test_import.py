"""From somebody else's network to risk maps by commands alone, on a real nnU-Net folder."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.imports import import_model

REAL, SCANS = find_real_data("nnunet_hippocampus"), find_real_data("msd_hippocampus")
pytestmark = pytest.mark.skipif(not (REAL and SCANS), reason="no real data beside the checkout")
CASE = "hippocampus_004"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A folder with the network in it, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("own")
    import_model(REAL, output=folder, name="hippo", mirroring=False)
    return folder


@pytest.fixture
def has_it(imported, monkeypatch):
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(imported))


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_folder_is_imported_told_about_and_used(command, own, tmp_path):
    ended = command("import", REAL, "--name", "hippo", "--no-mirroring")
    assert ended.code == 0, ended.err
    assert ended.out == ""
    assert "nnUNetTrainer_10epochs" in ended.err
    assert "uncertaintyseg predict hippo SCAN" in ended.err
    listed = {entry["name"]: entry for entry in command("models", "--json").json}
    assert listed["hippo"]["origin"]["source"] == "nnunet"
    assert listed["hippo"]["folder"] == str(own / "hippo")

    scan = SCANS / "images" / f"{CASE}.nii.gz"
    report = command("predict", "hippo", scan, "--output", tmp_path / "out", "--json").json
    golden = np.load(REAL / "golden" / f"{CASE}.npz", allow_pickle=False)["label_float32"]
    label = np.asarray(nib.load(tmp_path / "out" / "label.nii.gz").dataobj)
    assert np.array_equal(label, golden)
    assert {row["name"] for row in report["structures"]} == {"anterior", "posterior"}


@pytest.mark.parametrize(
    "method",
    [
        ("tta", "--option", "symmetries=[0]"),
        ("dropout_injection", "--option", "passes=2"),
    ],
    ids=lambda method: method[0],
)
@pytest.mark.usefixtures("has_it")
def test_passes_find_doubt_between_themselves(command, tmp_path, method):
    scan = SCANS / "images" / f"{CASE}.nii.gz"
    ended = command("predict", "hippo", scan, "--output", tmp_path / "out", "--method", *method, "--json")
    assert ended.code == 0, ended.err
    spread = nib.load(tmp_path / "out" / "mutual_information.nii.gz").get_fdata()
    assert 0.001 < spread.max() <= np.log(3)


@pytest.mark.usefixtures("has_it")
def test_training_the_network_itself_is_refused_and_a_head_is_offered(command, tmp_path):
    message = command("train", "hippo", SCANS, "--split", "msd_hippocampus", "--output", tmp_path).message
    assert "'hippo' is an imported network" in message
    assert "uncertaintyseg train hippo DATA --head laplace" in message


@pytest.mark.usefixtures("has_it")
def test_an_imported_network_audits_labels(command, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        shutil.copy(SCANS / kind / f"{CASE}.nii.gz", tmp_path / "data" / kind)
    rows = command("audit", tmp_path / "data", "--model", "hippo", "--json").json["structures"]
    assert {row["name"] for row in rows} == {"anterior", "posterior"}
    assert all(row["expected_error_ml"] > 0 for row in rows)


def test_json_says_what_was_found(command, own):
    found = command("import", REAL, "--fold", "0", "--json").json
    assert found["name"] == "hippocampus_nnunet"
    assert found["labels"] == ["anterior", "posterior"]
    assert found["spacing"] == [1.0, 1.0, 1.0]
    assert found["patch"] == [32, 32, 32]
    assert found["mirroring"] == [0, 1, 2]
    assert found["modality"] == "MR"
    assert found["renamed"] == {}


def test_what_cannot_be_imported_is_one_line(command, own, tmp_path):
    (tmp_path / "nothing").mkdir()
    message = command("import", tmp_path / "nothing").message
    assert "nothing that can be imported" in message
    (tmp_path / "nothing" / "plans.json").write_text(json.dumps({"configurations": {}}))
    assert "has no dataset.json" in command("import", tmp_path / "nothing").message
    assert not own.exists()
