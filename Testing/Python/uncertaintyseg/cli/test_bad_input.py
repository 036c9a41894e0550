"""Every mistake a user can make ends with exit 2 and one line that names the file and the way out."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import WEIGHTS

AFFINE, SHAPE = np.diag([3.0, 3.0, 6.0, 1.0]), (16, 16, 8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, shape or SHAPE).astype(np.float32)


def volume(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.Nifti1Image(array, affine).to_filename(path)


def truncated(path: Path) -> None:
    volume(path, noise())
    path.write_bytes(path.read_bytes()[:3000])


def with_nan(path: Path) -> None:
    array = noise()
    array[2, 3, 4] = np.nan
    volume(path, array)


def singular(path: Path) -> None:
    data = bytearray(nib.Nifti1Image(noise(), AFFINE).to_bytes())
    data[296:312] = bytes(16)  # the second row of the sform
    path.write_bytes(gzip.compress(bytes(data)))


WRONG = {
    "missing": (lambda path: None, "no such file"),
    "truncated": (truncated, "not a readable NIfTI file"),
    "not an image": (lambda path: path.write_text("patient A, see attachment"), "not a readable NIfTI file"),
    "channels": (lambda path: volume(path, noise(*SHAPE, 3)), "expected one 3D volume with one channel"),
    "nan": (with_nan, "1 voxels are NaN or infinite"),
    "constant": (lambda path: volume(path, np.full(SHAPE, 7.0, np.float32)), "every voxel is 7"),
    "empty": (lambda path: volume(path, np.zeros((16, 0, 8), np.float32)), "the volume is empty"),
    "singular affine": (singular, "its header gives no rectangular grid"),
    "one slice": (lambda path: volume(path, noise(16, 16, 1)), "one slice thick"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_scan_that_cannot_be_used(command, models, tmp_path, kind):
    make, message = WRONG[kind]
    path = tmp_path / "scan.nii.gz"
    make(path)
    ended = command("predict", *models(), path, "--output", tmp_path / "out", "--json")
    assert f"{path}: " in ended.message
    assert message in ended.message
    assert not (tmp_path / "out").exists()


def test_an_unknown_model(command, models, scan):
    name, *options = models()
    assert "no model 'nonsense'; there are" in command("predict", "nonsense", scan, *options).message
    assert name in command("predict", "nonsense", scan, *options).message


def test_a_models_folder_that_is_not_there(command, tmp_path):
    assert "no model folder" in command("models", "--models", tmp_path / "absent").message


def test_weights_of_another_architecture(command, models, scan, tmp_path):
    name, option, folder = models()
    other = tiny.write_bundle(tmp_path / "other", filters=(4, 8, 12))
    tiny.give_random_weights(other)
    shutil.copy(other / WEIGHTS, Path(folder) / name / WEIGHTS)
    ended = command("predict", name, scan, option, folder, "--output", tmp_path / "out")
    assert "holds the weights of another architecture" in ended.message


def test_damaged_weights(command, models, scan, tmp_path):
    name, option, folder = models()
    (Path(folder) / name / WEIGHTS).write_bytes(b"half a file")
    assert "not a readable safetensors file" in command("predict", name, scan, option, folder).message


def test_an_untrained_model(command, scan, tmp_path):
    tiny.write_bundle(tmp_path)
    assert "train the model first" in command("predict", "tiny_deterministic", scan, "--models", tmp_path).message


def test_an_output_that_cannot_be_written_leaves_what_is_there(command, models, scan, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ended = command("predict", *models(), scan, "--output", tmp_path / "file")
    assert "cannot be written" in ended.message
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_a_failed_prediction_leaves_an_earlier_one_alone(command, models, scan, tmp_path):
    options = models()
    command("predict", *options, scan, "--output", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with_nan(tmp_path / "nan.nii.gz")
    assert command("predict", *options, tmp_path / "nan.nii.gz", "--output", tmp_path / "out").code == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_device_that_is_not_there(command, models, scan):
    assert "device 'nonsense'" in command("predict", *models(), scan, "--device", "nonsense").message


@pytest.fixture
def data(phantoms, tmp_path) -> Path:
    """Three cases that may be damaged."""
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for i in range(3):
            shutil.copy(phantoms / part / f"case_{i}.nii.gz", tmp_path / "data" / part)
    return tmp_path / "data"


def mislabel(data: Path, name: str) -> None:
    image = nib.load(data / "labels" / f"{name}.nii.gz")
    label = np.asarray(image.dataobj).copy()
    label[0, 0, 0] = 9
    write_volume(data / "labels" / f"{name}.nii.gz", label, image.affine)


@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_an_unknown_class_in_a_label(command, models, data, verb, tmp_path):
    for i in range(3):
        mislabel(data, f"case_{i}")
    more = ["--output", tmp_path / "runs"] if verb == "train" else []
    ended = command(verb, *models(), data, *more)
    assert "unknown class id 9; known are 0, 1, 2" in ended.message
    assert re.search(r"labels/(case_\d)\.nii\.gz: .*\(case \1(\.nii\.gz)?\)", ended.message)
    assert "uncertaintyseg plan with --labels 9=tumour, or 9=background to leave it out" in ended.message


@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_data_that_is_not_there(command, models, verb, tmp_path):
    assert "absent: no such folder" in command(verb, *models(), tmp_path / "absent").message
    (tmp_path / "bare").mkdir()
    assert "no scans in a known layout" in command(verb, *models(), tmp_path / "bare").message


@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_data_without_labels(command, models, data, verb, tmp_path):
    shutil.rmtree(data / "labels")
    assert "labelled case" in command(verb, *models(), data).message


def test_an_evaluation_of_cases_that_are_not_there(command, models, data, tmp_path):
    options = models()
    (tmp_path / "ids.txt").write_text("case_0\ncase_9\n")
    message = command("evaluate", *options, data, "--cases", tmp_path / "ids.txt").message
    assert "names 1 cases that DATA does not hold, first 'case_9'" in message
    assert "no such list of cases" in command("evaluate", *options, data, "--cases", tmp_path / "absent.txt").message
    (tmp_path / "ids.json").write_text("[1, ")
    assert "not valid JSON" in command("evaluate", *options, data, "--cases", tmp_path / "ids.json").message
    assert "no such split" in command("evaluate", *options, data, "--cases", "nonsense:test").message


def test_training_settings_that_do_not_exist(command, models, data, tmp_path):
    options = [*models(), data, "--output", tmp_path / "runs"]
    assert "no objective 'nonsense'" in command("train", *options, "--objective", "nonsense").message
    assert "'recipe.estimator'" in command("train", *options, "--estimator", "magic").message
    assert "nonsense: no such split" in command("train", *options, "--split", "nonsense").message
    assert "names 130 cases without a label" in command("train", *options, "--split", "msd_hippocampus").message


def test_training_output_that_cannot_be_written(command, models, data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "choose another output folder" in command("train", *models(), data, "--output", tmp_path / "file").message


def test_a_head_without_its_backbone(command, models, data, tmp_path):
    ended = command("train", *models("low_rank"), data, "--output", tmp_path / "runs")
    assert "no model 'tiny_deterministic'" in ended.message


def test_a_real_process_prints_one_line_and_no_traceback(models, tmp_path):
    truncated(tmp_path / "scan.nii.gz")
    arguments = ["predict", *models(), str(tmp_path / "scan.nii.gz"), "--output", str(tmp_path / "out"), "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "uncertaintyseg.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"uncertaintyseg: {tmp_path / 'scan.nii.gz'}: not a readable NIfTI file")
