"""Labels of other programs: their ids and file names onto the model's."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.data.label_map import read_label_map, read_mapped_label
from uncertaintyseg.data.layouts import Case, read_cases, with_labels
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

IDS = {"organ": 1, "lesion": 2}


@pytest.fixture
def theirs(tmp_path) -> Case:
    """A label with the ids 0, 5, 9 and 30."""
    values = np.zeros((4, 4, 4), np.uint8)
    values[0], values[1], values[2] = 5, 9, 30
    write_volume(tmp_path / "label.nii.gz", values, np.eye(4))
    return Case("a", tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz")


def test_ids_are_mapped_and_what_is_not_named_is_background(theirs):
    label = read_mapped_label(theirs, IDS, {"5": "organ", "30": "lesion"})[0].numpy()
    assert [int(part.max()) for part in label] == [1, 0, 2, 0]
    assert [int(part.min()) for part in label] == [1, 0, 2, 0]


def test_two_ids_may_be_one_structure(theirs):
    label = read_mapped_label(theirs, IDS, {"5": "organ", "9": "organ"})[0].numpy()
    assert [int(part.max()) for part in label] == [1, 1, 0, 0]


def test_without_a_map_ids_are_the_models(theirs):
    with pytest.raises(InputError, match="unknown class id 5, 9, 30"):
        read_mapped_label(theirs, IDS, {})


def test_files_of_a_folder_are_mapped_by_name(tmp_path):
    values = np.zeros((4, 4, 4), np.uint8)
    values[0] = 1
    write_volume(tmp_path / "a" / "liver.nii.gz", values, np.eye(4))
    write_volume(tmp_path / "a" / "spleen.nii.gz", 1 - values, np.eye(4))
    label = read_mapped_label(Case("a", tmp_path, tmp_path / "a"), IDS, {"liver": "lesion"})[0].numpy()
    assert label[0].min() == 2
    assert label[1:].max() == 0


def test_files_of_a_folder_go_by_name_and_what_is_missing_or_more_is_said(tmp_path):
    values = np.zeros((4, 4, 4), np.uint8)
    values[0] = 1
    for name in ("Kidney (right)", "kidney_left", "spleen"):
        write_volume(tmp_path / "a" / f"{name}.nii.gz", values, np.eye(4))
        values = np.roll(values, 1, axis=0)
    ids = {"kidney_left": 1, "kidney_right": 2, "liver": 3}
    label = read_mapped_label(Case("a", tmp_path, tmp_path / "a"), ids, {})
    assert label[0, :, 0, 0].tolist() == [2, 1, 0, 0]
    assert label.meta["structures"] == ["kidney_left", "kidney_right"]
    assert label.meta["unmatched"] == ["spleen"]
    with pytest.raises(InputError, match=r"kidney_left, spleen: no structure of the model, which has brain; .*--map"):
        read_mapped_label(Case("a", tmp_path, tmp_path / "a"), {"brain": 1}, {})


def test_names_in_a_label_of_totalsegmentator_go_before_its_ids(theirs):
    table = "".join(
        f'<Label Key="{i}" Red="0"><![CDATA[{n}]]></Label>\n' for i, n in ((5, "Lesion"), (9, "rib_left_1"))
    )
    image = nib.load(theirs.label)
    named = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    named.header.extensions.append(nib.nifti1.Nifti1Extension(0, f"<CaretExtension>{table}</CaretExtension>".encode()))
    path = theirs.label.with_name("named.nii.gz")
    nib.save(named, path)
    label = read_mapped_label(Case("a", theirs.image, path), IDS, {})
    assert label[0, :, 0, 0].tolist() == [2, 0, 0, 0]
    assert (label.meta["structures"], label.meta["unmatched"]) == (["lesion"], ["rib_left_1"])
    assert read_mapped_label(Case("a", theirs.image, path), IDS, {"30": "organ"})[0, :, 0, 0].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("table", [{"5": "organ", "9": "kidney"}, {"organ": 5, "kidney": 9}])
def test_a_table_may_hold_more_than_the_model_has_either_way_round(tmp_path, table):
    (tmp_path / "dseg.json").write_text(json.dumps(table))
    assert read_label_map([str(tmp_path / "dseg.json")], IDS) == {"5": "organ"}
    assert read_label_map([str(tmp_path / "dseg.json"), "7=lesion"], IDS) == {"5": "organ", "7": "lesion"}


@pytest.mark.parametrize("labels", [{"background": 0, "Organ": 5, "kidney": 9}, {"0": "background", "5": "organ"},
    {"background": 0, "organ": 5, "everything": [5, 9]}])  # fmt: skip
def test_a_dataset_json_of_nnunet_is_a_table(tmp_path, labels):
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 30, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text("\ufeff" + json.dumps(dataset), encoding="utf-8")
    assert read_label_map([str(tmp_path / "dataset.json")], list(IDS)) == {"5": "organ"}


def test_a_region_of_a_dataset_json_is_no_single_id(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "organ": [1, 2], "lesion": 2}}))
    with pytest.raises(InputError, match=r"organ: regions of several ids; say what each id is, such as 5=NAME"):
        read_label_map([str(tmp_path / "dataset.json")], list(IDS))


@pytest.mark.parametrize(
    ("entry", "message"),
    [("5=kidney", "has no 'kidney'; it has organ, lesion"), ("nowhere.json", "no such file"), ("5", "no such file")],
)
def test_a_map_that_cannot_be_used_is_named(entry, message):
    with pytest.raises(InputError, match=message):
        read_label_map([entry], list(IDS))


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON"), ("[5]", "is an object"), ('{"5": "x"}', "none of")])
def test_a_table_that_cannot_be_used_is_named(tmp_path, text, message):
    (tmp_path / "dseg.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_map([str(tmp_path / "dseg.json")], list(IDS))


def test_names_of_files_do_not_fit_one_volume(theirs):
    with pytest.raises(InputError, match=r"liver=organ.*one volume, so map ids"):
        read_mapped_label(theirs, IDS, {"liver": "organ"})


def test_labels_of_another_folder_take_the_place_of_those_beside_the_scans(phantoms, tmp_path):
    cases = read_cases(phantoms)
    write_volume(tmp_path / "case_2.nii.gz", np.zeros((4, 4, 4), np.uint8), np.eye(4))
    (tmp_path / "case_3").mkdir()
    labels = {case.id: case.label for case in with_labels(cases, tmp_path)}
    assert labels["case_2"] == tmp_path / "case_2.nii.gz"
    assert labels["case_3"] == tmp_path / "case_3"
    assert labels["case_0"] is None
    with pytest.raises(InputError, match=r"holds no label of these cases.*case_0\.nii\.gz"):
        with_labels(cases, tmp_path / "nowhere")
