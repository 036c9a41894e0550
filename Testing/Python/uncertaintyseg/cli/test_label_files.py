"""Labels as people have them, in evaluate, audit and train: names count, and a bad one stops nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.data.writing import write_volume


@pytest.fixture
def data(windows, tmp_path) -> Path:
    """Three phantoms whose labels may be changed."""
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for i in range(3):
            shutil.copy(windows / part / f"case_{i}.nii.gz", tmp_path / "data" / part)
    return tmp_path / "data"


def label_of(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(data / "labels" / f"{name}.nii.gz")
    return np.asarray(image.dataobj).astype(np.uint8), image.affine


def as_slicer_saves_it(data: Path, name: str, *, named: bool, cropped: bool = False) -> None:
    """Replace a label by `<case>.seg.nrrd`, with names the numbers swapped."""
    label, affine = label_of(data, name)
    segments = [Segment("lesion", 1), Segment("organ", 2)] if named else []
    stored = np.array([0, 2, 1], np.uint8)[label] if named else label
    if cropped:
        low, high = np.argwhere(label).min(axis=0), np.argwhere(label).max(axis=0) + 1
        stored = stored[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, :3] @ low
    write_segmentation(data / "labels" / f"{name}.seg.nrrd", stored, affine, segments)
    (data / "labels" / f"{name}.nii.gz").unlink()


def without_times(found: dict) -> dict:
    cases = [{key: value for key, value in case.items() if key != "seconds"} for case in found.pop("cases")]
    return {key: value for key, value in found.items() if key != "seconds_per_case"} | {"cases": cases}


def test_evaluate_finds_the_same_in_slicers_labels_as_in_its_own(command, models, data):
    options = [*models(), data, "--json"]
    before = without_times(command("evaluate", *options).json)
    as_slicer_saves_it(data, "case_0", named=False)
    as_slicer_saves_it(data, "case_1", named=True)
    as_slicer_saves_it(data, "case_2", named=True, cropped=True)
    assert without_times(command("evaluate", *options).json) == before
    assert before["n"] == 3


def test_audit_finds_the_same_in_slicers_labels_as_in_its_own(command, models, data):
    name, *options = models()
    before = command("audit", data, "--model", name, *options, "--json").json
    as_slicer_saves_it(data, "case_0", named=False)
    as_slicer_saves_it(data, "case_1", named=True)
    as_slicer_saves_it(data, "case_2", named=True, cropped=True)
    assert command("audit", data, "--model", name, *options, "--json").json == before
    assert {row["case"] for row in before["structures"]} == {"case_0", "case_1", "case_2"}


def test_train_learns_the_same_from_slicers_labels_as_from_its_own(command, models, data, tmp_path):
    options = [*models(), data, "--epochs", 1, "--json", "--output"]
    before = command("train", *options, tmp_path / "before").json
    as_slicer_saves_it(data, "case_0", named=True)
    as_slicer_saves_it(data, "case_1", named=True, cropped=True)
    as_slicer_saves_it(data, "case_2", named=True)
    after = command("train", *options, tmp_path / "after").json
    assert after["checksum"] == before["checksum"]


def spoil_label(data: Path) -> str:
    label, affine = label_of(data, "case_1")
    label[0, 0, 0] = 9
    write_volume(data / "labels" / "case_1.nii.gz", label, affine)
    return "unknown class id 9"


def spoil_segment(data: Path) -> str:
    label, affine = label_of(data, "case_1")
    (data / "labels" / "case_1.nii.gz").unlink()
    write_segmentation(data / "labels" / "case_1.seg.nrrd", label, affine, [Segment("organ", 1), Segment("cyst", 2)])
    return "segment 'cyst' is none"


def spoil_scan(data: Path) -> str:
    (data / "images" / "case_1.nii.gz").write_bytes(b"nothing")
    return "not a readable NIfTI file"


@pytest.mark.parametrize("spoil", [spoil_label, spoil_segment, spoil_scan])
def test_evaluate_goes_on_after_a_bad_case_and_lists_it(command, models, data, spoil, tmp_path):
    options = [*models(), data]
    (tmp_path / "good.txt").write_text("case_0\ncase_2\n")
    good = without_times(command("evaluate", *options, "--cases", tmp_path / "good.txt", "--json").json)
    message = spoil(data)
    ended = command("evaluate", *options, "--json")
    found = without_times(ended.json)
    assert ended.code == 1
    assert list(found["failed"]) == ["case_1"]
    assert message in found["failed"]["case_1"]
    assert found | {"failed": {}} == good
    table = command("evaluate", *options)
    assert (table.code, table.out) == (1, "")
    assert "2 cases" in table.err
    assert "case_1 was not evaluated" in table.err


def test_evaluate_of_bad_cases_alone_is_a_mistake(command, models, data):
    for name in ("case_0", "case_1", "case_2"):
        (data / "images" / f"{name}.nii.gz").write_bytes(b"nothing")
    message = command("evaluate", *models(), data, "--json").message
    assert "none of 3 cases can be evaluated. The first, case case_0: " in message


def test_scans_without_a_label_and_labels_without_a_scan_are_said(command, models, data, tmp_path):
    (data / "labels" / "case_1.nii.gz").rename(data / "labels" / "case 1.nii.gz")
    ended = command("evaluate", *models(), data, "--json")
    assert (ended.code, ended.json["n"], ended.json["unlabelled"]) == (0, 2, ["case_1"])
    name, *options = models()
    said = [ended.err]
    said.append(command("audit", data, "--model", name, *options).err)
    said.append(command("train", name, *options, data, "--epochs", 1, "--output", tmp_path / "runs").err)
    for err in said:
        assert "1 without a label: case_1" in err
        assert "1 in labels/ that belong to no scan: case 1.nii.gz" in err


@pytest.mark.parametrize("text", [
    "case 1 (left)\ncase_2\n", "\ufeffcase 1 (left)\r\ncase_2\r\n", "  case 1 (left)  \n\n\ncase_2",
    '\ufeff["case 1 (left)", "case_2"]', "case_2 case_0\ncase 1 (left)",
])  # fmt: skip
def test_lists_of_cases_take_names_with_spaces_and_a_byte_order_mark(command, models, data, tmp_path, text):
    for part in ("images", "labels"):
        (data / part / "case_1.nii.gz").rename(data / part / "case 1 (left).nii.gz")
    (tmp_path / "ids.txt").write_bytes(text.encode())
    result = command("evaluate", *models(), data, "--cases", tmp_path / "ids.txt", "--json").json
    named = [name for name in ("case 1 (left)", "case_2", "case_0") if name in text]
    assert sorted(case["id"] for case in result["cases"]) == sorted(named)


def test_a_list_of_cases_in_another_encoding_is_refused(command, models, data, tmp_path):
    (tmp_path / "ids.txt").write_bytes("Fälle".encode("latin-1"))
    assert "not a text in UTF-8" in command("evaluate", *models(), data, "--cases", tmp_path / "ids.txt").message


@pytest.mark.parametrize("head", ["deterministic", "temperature"])
def test_a_training_without_any_structure_fails_loudly(command, models, data, tmp_path, head):
    for i in range(3):
        label, affine = label_of(data, f"case_{i}")
        write_volume(data / "labels" / f"case_{i}.nii.gz", np.zeros_like(label), affine)
    more = [] if head == "deterministic" else ["--head", head]
    message = command("train", *models(), data, "--output", tmp_path / "runs", *more).message
    assert "none of the labels to learn from holds a voxel of any structure" in message


def test_a_map_may_be_nnunets_dataset_json(command, models, data, tmp_path):
    name, *options = models()
    before = command("audit", data, "--model", name, *options, "--json").json
    for i in range(3):
        label, affine = label_of(data, f"case_{i}")
        write_volume(data / "labels" / f"case_{i}.nii.gz", np.array([0, 7, 3], np.uint8)[label], affine)
    dataset = {"labels": {"background": 0, "Lesion": 3, "organ": 7, "spleen": 1}, "channel_names": {"0": "CT"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    found = command("audit", data, "--model", name, *options, "--map", tmp_path / "dataset.json", "--json").json
    assert found == before
