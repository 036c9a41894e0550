"""What a folder holds: names, values and channels of its structures, wherever they are said."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
hippocampus = find_real_data("msd_hippocampus")


def write(path, values=(0, 1), dtype=np.uint8) -> None:
    """A volume of 4 x 4 x 4 voxels whose planes along x hold these values, the last one to the end."""
    array = np.zeros((4, 4, 4), dtype)
    for x, value in enumerate(values):
        array[x:] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, array, AFFINE)


def write_scan(path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, np.random.default_rng(seed).normal(size=(4, 4, 4)).astype(np.float32), AFFINE)


@pytest.fixture
def numbers(tmp_path):
    """Two cases, with the numbers 1 and 5, and 1 alone."""
    for case, values in (("a", (0, 1, 5)), ("b", (0, 1))):
        write_scan(tmp_path / f"images/{case}.nii.gz")
        write(tmp_path / f"labels/{case}.nii.gz", values)
    return tmp_path


def read(dataset, case: int = 0):
    """What is read of a case, plane by plane along x."""
    label = read_case_label(dataset.cases[case], dataset.ids, ignore=dataset.ignore, values=dataset.values)
    return label[0, :, 0, 0].tolist()


def test_labels_without_names_are_called_by_their_numbers_and_say_how_to_name_them(numbers):
    dataset = read_dataset(numbers)
    assert [(label.id, label.name) for label in dataset.labels] == [(1, "structure 1"), (2, "structure 5")]
    assert dataset.values == {1: 1, 5: 2}
    assert dataset.channels == ["image"]
    assert "--labels 1=NAME,5=NAME" in dataset.notes[0]
    assert [read(dataset, case) for case in (0, 1)] == [[0, 1, 2, 2], [0, 1, 1, 1]]


def test_given_names_count_and_choose_what_is_learnt(numbers):
    dataset = read_dataset(numbers, labels={5: "liver", 1: "background"})
    assert [(label.id, label.name, label.snomed) for label in dataset.labels] == [(1, "liver", "10200004")]
    assert read(dataset) == [0, 0, 1, 1]
    assert not dataset.notes
    assert read_dataset(numbers, labels={1: "a", 2: "b"}).values == {}


def test_what_nobody_judged_is_called_ignore(numbers):
    dataset = read_dataset(numbers, labels={1: "liver", 5: "ignore"})
    assert dataset.ignore == 5
    assert read(dataset) == [0, 1, IGNORED, IGNORED]


def test_a_value_that_was_not_named_is_told_by_case_and_value(numbers):
    dataset = read_dataset(numbers, labels={5: "liver"})
    with pytest.raises(InputError, match=r"a\.nii\.gz: unknown class id 1; known are 0, 5 \(case a\).*1=background"):
        read(dataset)


def test_structures_are_chosen_by_name_whatever_their_spelling_and_in_this_order(tmp_path):
    for case in ("s1", "s2"):
        write_scan(tmp_path / case / "ct.nii.gz")
        for place, name in enumerate(("kidney_left", "liver", "spleen")):
            write(tmp_path / case / "segmentations" / f"{name}.nii.gz", [0] * (place + 1) + [1])
    dataset = read_dataset(tmp_path, structures=["liver", "left kidney"])
    assert (dataset.layout, dataset.modality) == ("totalsegmentator", "CT")
    assert [(label.id, label.name) for label in dataset.labels] == [(1, "liver"), (2, "left kidney")]
    assert dataset.labels[1].modifier == "7771000"
    assert read(dataset) == [0, 2, 2, 2]
    assert [label.name for label in read_dataset(tmp_path).labels] == ["kidney_left", "liver", "spleen"]
    with pytest.raises(InputError, match="has no structure 'lung'; it has kidney_left, liver, spleen"):
        read_dataset(tmp_path, structures=["lung"])


def test_segments_that_were_not_chosen_are_background(tmp_path):
    segments = [Segment("liver", 1), Segment("spleen", 2), Segment("tumour", 3)]
    drawn = np.zeros((4, 4, 4), np.uint8)
    drawn[1], drawn[2], drawn[3] = 1, 2, 3
    for case in ("a", "b"):
        write_scan(tmp_path / f"images/{case}.nii.gz")
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_segmentation(tmp_path / f"labels/{case}.seg.nrrd", drawn, AFFINE, segments)
    dataset = read_dataset(tmp_path, structures=["tumour", "liver"])
    assert (dataset.ids, read(dataset)) == ({"tumour": 1, "liver": 2}, [0, 2, 0, 1])
    everything = read_dataset(tmp_path)
    assert read(everything) == [0, 1, 2, 3]
    others = [Segment("liver", 1), Segment("splen", 2), Segment("tumour", 3)]
    write_segmentation(tmp_path / "labels/a.seg.nrrd", drawn, AFFINE, others)
    with pytest.raises(InputError, match="segment 'splen' is none of the model's structures"):
        read(everything)  # where nothing was left out a name that nobody knows is a mistake


def test_a_set_without_any_label_says_where_they_go(tmp_path):
    write_scan(tmp_path / "images/a.nii.gz")
    with pytest.raises(InputError, match=r"none of its 1 cases has a label.*images/ with labels/"):
        read_dataset(tmp_path)


@pytest.mark.skipif(hippocampus is None, reason="no Decathlon hippocampus beside the checkout")
def test_the_real_hippocampus_is_read():
    dataset = read_dataset(hippocampus, labels={1: "anterior", 2: "posterior"})
    assert (len(dataset.cases), dataset.values, dataset.ids) == (200, {}, {"anterior": 1, "posterior": 2})


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ({1: "a", 70_000: "b"}, "70000=b: structures have voxel values from 1 to 65535"),
        ({1: "a", 0: "b"}, "0=b: structures have voxel values from 1"),
        ({1: " ", 5: "b"}, "empty name"),
        ({1: "../../elsewhere", 5: "b"}, "'../../elsewhere' has a name that no file can have"),
        ({1: "$print(1)", 5: "b"}, "has a name that no file can have"),
        ({1: "%/etc/hosts::x", 5: "b"}, "has a name that no file can have"),
        ({1: "x" * 300, 5: "b"}, "has a name that no file can have"),
        ({1: "a\nb", 5: "b"}, "has a name that no file can have"),
        ({1: "Liver", 5: "liver"}, "'Liver' and 'liver' are alike but for capitals"),
    ],
)
def test_names_and_values_that_cannot_be_are_refused(numbers, labels, what):
    with pytest.raises(InputError, match=what):
        read_dataset(numbers, labels=labels)


def test_a_label_that_cannot_be_read_hides_nothing_of_the_others(numbers):
    write_scan(numbers / "images/c.nii.gz")
    (numbers / "labels/c.nii.gz").write_bytes(b"")
    assert [label.name for label in read_dataset(numbers).labels] == ["structure 1", "structure 5"]
    for name in ("a", "b"):
        (numbers / f"labels/{name}.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"labels/a\.nii\.gz: not a readable NIfTI"):
        read_dataset(numbers)


@pytest.mark.parametrize("names", [{"0": "$exit()"}, {"0": "@device"}, {"0": "../T1"}, {"0": " "}])
def test_channels_that_monai_would_run_are_refused(numbers, names):
    (numbers / "dataset.json").write_text(json.dumps({"labels": {"a": 1, "b": 5}, "channel_names": names}))
    with pytest.raises(InputError, match=r"channel.* name.*rename it in dataset\.json"):
        read_dataset(numbers)


def test_names_in_any_script_are_kept(numbers):
    dataset = read_dataset(numbers, labels={1: "leber, links (alt)", 5: "\u809d\u810f"})
    assert [label.name for label in dataset.labels] == ["leber, links (alt)", "\u809d\u810f"]


def test_channels_of_one_name_get_a_number(tmp_path):
    for case in "ab":
        for channel in range(3):
            write_scan(tmp_path / f"imagesTr/{case}_{channel:04d}.nii.gz", channel)
        write(tmp_path / f"labelsTr/{case}.nii.gz")
    said = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "zscore", "1": "T2", "2": "zscore"}}
    (tmp_path / "dataset.json").write_text(json.dumps(said))
    assert read_dataset(tmp_path).channels == ["zscore 1", "T2", "zscore 3"]


@pytest.mark.parametrize(("name", "modality"), [("US", "US"), ("ultrasound", "US"), ("T1w", "MR"), ("fundus", None)])
def test_the_name_of_the_channel_says_the_modality(numbers, name, modality):
    (numbers / "dataset.json").write_text(json.dumps({"labels": {"a": 1, "b": 5}, "channel_names": {"0": name}}))
    assert read_dataset(numbers).modality == modality


def test_a_folder_that_may_not_be_listed_is_named(numbers):
    (numbers / "labels").chmod(0)
    try:
        if os.access(numbers / "labels", os.R_OK):
            pytest.skip("root may read everything")
        with pytest.raises(InputError, match=r"labels: cannot be listed \(Permission denied\)"):
            read_dataset(numbers)
    finally:
        (numbers / "labels").chmod(0o755)
