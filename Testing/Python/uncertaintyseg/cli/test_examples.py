"""What a model is shown on the command line, in place of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.cli.examples import MOST
from uncertaintyseg.data.examples import MOST as READ
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.imports import import_model


@pytest.fixture
def universeg(tmp_path):
    """The options that make a command find a model without examples, and a folder of examples."""
    torch.manual_seed(0)
    torch.save(UniverSeg((4, 5)).state_dict(), tmp_path / "us.pt")
    import_model(tmp_path / "us.pt", output=tmp_path / "models", patch="16")
    tiny.write_phantoms(tmp_path / "shown", 2, **tiny.COARSE)
    return tmp_path / "shown"


def test_a_scan_is_segmented_from_examples_with_their_doubt(universeg, command, tmp_path):
    scan = universeg / "images" / "case_0.nii.gz"
    ended = command(
        "predict", "us", scan, "--models", tmp_path / "models", "--examples", universeg, "--slices", 2,
        "--method", "examples", "--option", "passes=2", "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["provenance"]["params"] == {"method": "examples", "passes": 2}
    assert {row["name"] for row in ended.json["structures"]} == {"structure 1", "structure 2"}


def test_an_image_among_volumes_is_left_out_by_name(universeg, command, tmp_path):
    for folder, kind in (("images", np.float32), ("labels", np.uint8)):
        values = np.pad(np.ones((6, 6, 1), kind), ((5, 5), (5, 5), (0, 0)))
        write_volume(universeg / folder / "picture.nii.gz", values, np.eye(4))
    scan = universeg / "images" / "case_0.nii.gz"
    ended = command(
        "predict", "us", scan, "--models", tmp_path / "models", "--examples", universeg, "--slices", 2, "--json",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["provenance"]["left_out"] == ["picture"]
    said = " ".join(ended.err.split())
    assert "Left out of the examples, for they are images or clips and the others are not: picture" in said


def test_an_evaluation_says_which_cases_are_of_a_patient_that_was_shown(universeg, command, tmp_path):
    ended = command("evaluate", "us", universeg, "--models", tmp_path / "models", "--examples", universeg)
    assert ended.code == 0, ended.err
    said = " ".join(ended.err.split())
    assert "Same patient: the model was shown slices of 2 of these 2 cases" in said


def test_without_a_folder_nothing_says_which_slices(universeg, command, tmp_path):
    scan = universeg / "images" / "case_0.nii.gz"
    for option in (("--plane", "axial"), ("--slices", 3)):
        ended = command("predict", "us", scan, "--models", tmp_path / "models", *option)
        assert "name their folder with --examples" in ended.message
    assert (
        "was shown nothing yet: show it slices"
        in command("predict", "us", scan, "--models", tmp_path / "models").message
    )
    assert MOST == READ


def test_an_import_says_what_it_was_shown(universeg, command, tmp_path):
    ended = command(
        "import", tmp_path / "us.pt", "--examples", universeg, "--slices", 2, "--patch", 16, "--name", "organs",
        "--output", tmp_path / "models", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert len(ended.json["examples"]) == 2
    assert ended.json["labels"] == ["structure 1", "structure 2"]


def test_a_model_to_keep_is_calibrated_audits_and_takes_a_head(universeg, command, tmp_path):
    tiny.write_phantoms(tmp_path / "data", 10, 2, **tiny.COARSE)
    import_model(tmp_path / "us.pt", output=tmp_path / "models", patch="16", name="organs", examples=universeg)
    data, models = tmp_path / "data", ("--models", tmp_path / "models")
    for arguments in (
        ("calibrate", "organs", data),
        ("audit", data, "--model", "organs", "--output", tmp_path / "audit"),
        ("train", "organs", data, "--head", "laplace", "--output", tmp_path / "models"),
    ):
        ended = command(*arguments, *models)
        assert ended.code == 0, ended.err
    scan = data / "images" / "case_3.nii.gz"
    ended = command("predict", "organs_laplace", scan, *models, "--output", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["provenance"]["samples"] == 79
