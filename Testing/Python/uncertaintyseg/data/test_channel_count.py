"""A model of fewer channels than the data set has is refused before it learns from the first ones alone."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts.channel_count import check_channel_count
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError


@pytest.fixture
def pairs(tmp_path):
    """Two cases of two files each, as nnU-Net names them."""
    for case in ("a", "b"):
        files, truth = tiny.write_two_channels(tmp_path / "data" / "images", case)
        write_volume(tmp_path / "data" / "labels" / f"{case}.nii.gz", truth.astype(np.uint8), nib.load(files[0]).affine)
    return tmp_path / "data"


def test_two_channels_are_no_data_of_a_model_of_one(pairs):
    check_channel_count(pairs, ["T1", "CT"])
    with pytest.raises(
        InputError, match=r"2 channels \(channel 1, channel 2\), and this model takes 1 \(image\)"
    ) as told:
        check_channel_count(pairs, ["image"])
    assert "uncertaintyseg plan TASK" in str(told.value)


def test_their_names_are_those_of_dataset_json(pairs):
    said = {"channel_names": {"0": "T1", "1": "CT"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (pairs / "dataset.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(InputError, match=r"\(T1, CT\)"):
        check_channel_count(pairs, ["image"])


def test_one_case_of_two_channels_among_others_is_enough(pairs):
    (pairs / "images" / "a_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="2 channels"):
        check_channel_count(pairs, ["image"])


def test_channels_in_one_file_and_sequences_of_brats_count_too(pairs, tmp_path):
    (tmp_path / "four" / "imagesTr").mkdir(parents=True)
    shutil.copytree(pairs / "labels", tmp_path / "four" / "labelsTr")
    for case in ("a", "b"):
        image = nib.Nifti1Image(np.zeros((8, 8, 8, 2), np.float32), np.eye(4))
        image.to_filename(tmp_path / "four" / "imagesTr" / f"{case}.nii.gz")
    with pytest.raises(InputError, match="2 channels"):
        check_channel_count(tmp_path / "four", ["image"])
    folder = tmp_path / "brats" / "x"
    for part in ("t1", "t1ce", "t2", "flair", "seg"):
        write_volume(folder / f"x_{part}.nii.gz", np.zeros((8, 8, 8), np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"4 channels \(T1, T1ce, T2, FLAIR\)"):
        check_channel_count(tmp_path / "brats", ["image"])


def test_data_of_one_channel_are_taken(phantoms):
    assert check_channel_count(phantoms, ["image"]) is None
