"""A model of two channels on the command line: files in any order by name, a folder of cases, and what is refused."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume


@pytest.fixture
def pair(tmp_path):
    """The arguments that run the model."""
    bundle = tiny.write_two_channel_bundle(tmp_path / "models")
    return bundle.name, "--models", bundle.folder.parent


@pytest.fixture
def files(tmp_path):
    return tiny.write_two_channels(tmp_path / "scans")


def agrees(folder, truth) -> bool:
    label = np.asarray(nib.load(folder / "label.nii.gz").dataobj)
    return float((label == truth).mean()) > 0.99


def test_a_case_is_its_files_however_they_are_named(command, pair, files, tmp_path):
    (t1, ct), truth = files
    given = ([t1], [t1, ct], [t1.parent], ["--channel", f"ct={ct}", "--channel", f"T1={t1}"])
    reports = [command("predict", *pair, *scan, "--output", tmp_path / "out", "--json").json for scan in given]
    assert agrees(tmp_path / "out", truth)
    assert set(np.unique(truth)) == {0, 1, 2}
    assert all(report["structures"] == reports[0]["structures"] for report in reports)
    assert reports[0]["provenance"]["channels"] == {"T1": "case_0000.nii.gz", "CT": "case_0001.nii.gz"}


def test_a_folder_of_cases_gets_a_folder_of_results_each(command, pair, files, tmp_path):
    tiny.write_two_channels(tmp_path / "scans", "other")
    ended = command("predict", *pair, tmp_path / "scans", "--output", tmp_path / "out", "--json")
    assert set(ended.json) == {"case", "other"}
    assert all(agrees(tmp_path / "out" / case, files[1]) for case in ("case", "other"))


def test_what_is_missing_or_unknown_is_said_with_the_channels_that_there_are(command, pair, files, tmp_path):
    t1, ct = files[0]
    for scan, message in (
        (["--channel", f"T1={t1}"], "channel CT is missing; this model takes T1, CT"),
        (["--channel", f"T1={t1}", "--channel", f"PET={ct}"], "there is no channel 'PET'; this model takes T1, CT"),
        (["--channel", f"T1={t1}", "--channel", f"t1={ct}"], "t1 was given already"),
        (["--channel", "T1"], "write it as NAME=FILE"),
        ([t1, "--channel", f"CT={ct}"], "not both"),
        ([], "no scan was given: name its file, or --channel T1=FILE --channel CT=FILE"),
        ([t1, t1], "given for two channels; this model takes 2 channels (T1, CT)"),
        ([t1, ct, t1], "3 files were given; this model takes 2 channels (T1, CT)"),
    ):
        ended = command("predict", *pair, *scan, "--output", tmp_path / "out")
        assert ended.code == 2
        assert message in " ".join(ended.err.split())
    ct.unlink()
    ended = command("predict", *pair, t1, "--output", tmp_path / "out")
    assert "case_0001.nii.gz is missing beside it" in " ".join(ended.err.split())


def test_files_with_commas_between_them_are_told_so(command, pair, tmp_path):
    ended = command("predict", *pair, "a.nii.gz,b.nii.gz", "--output", tmp_path / "out")
    assert "with spaces between them, not commas" in ended.message


def test_swapped_channels_and_other_grids_are_refused(command, pair, files, tmp_path):
    t1, ct = files[0]
    ended = command("predict", *pair, ct, t1, "--output", tmp_path / "out")
    assert ended.code == 2
    assert "T1 looks like CT and CT does not: channels swapped?" in " ".join(ended.err.split())
    assert command("predict", *pair, ct, t1, "--output", tmp_path / "out", "--force").code == 0
    write_volume(ct, np.asarray(nib.load(ct).dataobj), np.diag([4.0, 4.0, 4.0, 1.0]))
    ended = command("predict", *pair, t1, "--output", tmp_path / "out")
    assert "its grid is not that of" in " ".join(ended.err.split())


def test_every_command_takes_a_data_set_of_several_channels(command, pair, files, tmp_path):
    data = tmp_path / "data"
    for case in range(10):
        _, truth = tiny.write_two_channels(data / "imagesTr", f"c{case}")
        write_volume(data / "labelsTr" / f"c{case}.nii.gz", truth.astype(np.uint8), np.diag([*tiny.SPACING, 1.0]))
    (name, *models) = pair
    assert command("evaluate", name, data, *models, "--json").json["structures"]["lesion"]["dice"]["mean"] > 0.9
    assert command("audit", data, "--model", name, *models, "--json").json["n"] == 10
    calibrated = command("calibrate", name, data, *models, "--json")
    assert calibrated.code == 0, calibrated.err


def test_the_picture_of_a_prediction_says_which_channel_it_shows(command, pair, files, tmp_path):
    command("predict", *pair, files[0][0], "--output", tmp_path / "out")
    drawn = {}
    for channel in (None, "CT"):
        chosen = [] if channel is None else ["--channel", channel]
        ended = command("inspect", tmp_path / "out", "--image", files[0][0], *chosen)
        assert ended.code == 0, ended.err
        drawn[channel] = (tmp_path / "out" / "inspection.png").read_bytes()
    assert drawn[None] != drawn["CT"]
    ended = command("inspect", tmp_path / "out", "--image", files[0][0], "--channel", "PET")
    assert "the prediction is of T1, CT" in " ".join(ended.err.split())


def test_models_are_listed_with_their_channels(command, pair):
    _, *models = pair
    listed = {entry["name"]: entry["channels"] for entry in command("models", *models, "--json").json}
    assert listed["pair_deterministic"] == ["T1", "CT"]
    assert json.dumps(listed).count("T1") == 1
    assert "T1, CT" in command("models", *models).err


def test_channels_in_one_file_are_a_data_set_too(command, pair, files, tmp_path):
    (t1, ct), truth = files
    affine, data = np.diag([*tiny.SPACING, 1.0]), tmp_path / "data"
    both = np.stack([np.asarray(nib.load(file).dataobj) for file in (t1, ct)], axis=-1)
    (data / "imagesTr").mkdir(parents=True)
    nib.save(nib.Nifti1Image(both.astype(np.float32), affine), data / "imagesTr" / "a.nii.gz")
    write_volume(data / "labelsTr" / "a.nii.gz", truth.astype(np.uint8), affine)
    (name, *models) = pair
    assert command("evaluate", name, data, *models, "--json").json["structures"]["lesion"]["dice"]["mean"] > 0.9
    picture = tmp_path / "worst.png"
    assert command("audit", data, "--model", name, *models, "--picture", picture, "--json").json["n"] == 1
    assert picture.is_file()
    report = command("predict", *pair, data / "imagesTr" / "a.nii.gz", "--output", tmp_path / "out", "--json").json
    assert report["provenance"]["channels"] == {"T1": "a.nii.gz", "CT": "a.nii.gz"}
    assert agrees(tmp_path / "out", truth)


def test_a_model_of_one_channel_does_not_learn_from_the_first_of_two(command, models, pair, files, tmp_path):
    (tmp_path / "data" / "labels").mkdir(parents=True)
    for case in ("a", "b"):
        (t1, _), truth = tiny.write_two_channels(tmp_path / "data" / "images", case)
        write_volume(tmp_path / "data" / "labels" / f"{case}.nii.gz", truth.astype(np.uint8), nib.load(t1).affine)
    for program in ("train", "simulate"):
        name, *where = models()
        model = (name,) if program == "train" else ()
        named = () if program == "train" else ("--model", name)
        ended = command(program, *model, tmp_path / "data", *named, *where, "--output", tmp_path / "runs")
        assert "2 channels (channel 1, channel 2), and this model takes 1 (image)" in ended.message
    assert not (tmp_path / "runs").exists()
