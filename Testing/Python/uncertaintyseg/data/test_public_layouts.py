"""Data sets as they are published: their cases, structures, values and channels, read from real files."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.layouts import LAYOUTS, read_cases
from uncertaintyseg.data.nrrd import read_nrrd
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def write_label(path, *values) -> None:
    """A volume of 6 x 4 x 4 voxels whose planes along x hold these values, then background."""
    array = np.zeros((6, 4, 4), np.uint8)
    for x, value in enumerate(values):
        array[x] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, array, AFFINE)


def write_scan(path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, np.random.default_rng(seed).normal(size=(6, 4, 4)).astype(np.float32), AFFINE)


def write_json(folder, **said) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(said), encoding="utf-8")


def read(dataset, case: int = 0) -> list[int]:
    """What is read of a case, plane by plane along x."""
    one = dataset.cases[case]
    scan = read_channels(one.image, len(dataset.channels))
    assert scan.shape[0] == len(dataset.channels)
    label = read_case_label(one, dataset.ids, like=scan[:1], ignore=dataset.ignore, values=dataset.values)
    return label[0, :, 0, 0].tolist()


def structures(dataset) -> list[tuple[int, str]]:
    return [(label.id, label.name) for label in dataset.labels]


@pytest.fixture
def nnunet(tmp_path):
    """Two cases of two channels; what dataset.json says is the test's."""
    for case in ("a_1", "b_2"):
        for channel in range(2):
            write_scan(tmp_path / f"imagesTr/{case}_{channel:04d}.nii.gz", channel)
    write_label(tmp_path / "labelsTr/a_1.nii.gz", 1, 2, 3)
    write_label(tmp_path / "labelsTr/b_2.nii.gz", 1)
    return tmp_path


CHANNELS = {"0": "T1", "1": "FLAIR"}


def test_nnunets_names_channels_and_ignore_label(nnunet):
    write_json(
        nnunet, channel_names=CHANNELS, labels={"background": 0, "edema": 1, "core": 2, "ignore": 3}, numTraining=2,
        file_ending=".nii.gz",
    )  # fmt: skip
    dataset = read_dataset(nnunet)
    assert (dataset.layout, dataset.channels, dataset.modality) == ("nnunet", ["T1", "FLAIR"], "MR")
    assert (structures(dataset), dataset.ignore, dataset.values) == ([(1, "edema"), (2, "core")], 3, {})
    assert [case.id for case in dataset.cases] == ["a_1", "b_2"]
    assert read(dataset) == [1, 2, IGNORED, 0, 0, 0]


def test_nnunets_nested_regions_are_learnt_by_their_parts(nnunet):
    labels = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": [3]}
    write_json(nnunet, channel_names=CHANNELS, labels=labels, regions_class_order=[1, 2, 3])
    dataset = read_dataset(nnunet)
    assert structures(dataset) == [
        (1, "whole tumor without tumor core"), (2, "tumor core without enhancing"), (3, "enhancing"),
    ]  # fmt: skip
    assert dataset.regions == {"whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": [3]}
    assert read(dataset) == [1, 2, 3, 0, 0, 0]


def test_values_that_no_region_tells_apart_are_one_structure(nnunet):
    write_json(nnunet, channel_names=CHANNELS, labels={"background": 0, "organ": [1, 2, 3], "lesion": 3})
    dataset = read_dataset(nnunet)
    assert structures(dataset) == [(1, "organ without lesion"), (2, "lesion")]
    assert dataset.values == {1: 1, 2: 1, 3: 2}
    assert dataset.regions == {"organ": [1, 2], "lesion": [2]}
    assert read(dataset) == [1, 1, 2, 0, 0, 0]


def test_regions_that_overlap_are_cut_into_parts(nnunet):
    write_json(nnunet, channel_names=CHANNELS, labels={"background": 0, "left": [1, 2], "upper": [2, 3]})
    dataset = read_dataset(nnunet)
    assert [label.name for label in dataset.labels] == ["left alone", "left and upper", "upper alone"]


def test_nnunets_files_may_lie_anywhere(tmp_path):
    write_scan(tmp_path / "scans/x_0000.nii.gz")
    write_scan(tmp_path / "scans/x_0001.nii.gz", 1)
    write_label(tmp_path / "drawn/x.nii.gz", 1)
    said = {"images": ["scans/x_0000.nii.gz", "scans/x_0001.nii.gz"], "label": "drawn/x.nii.gz"}
    write_json(tmp_path, channel_names=CHANNELS, labels={"background": 0, "organ": 1}, dataset={"case x": said})
    dataset = read_dataset(tmp_path)
    assert [(case.id, case.image.name, case.label.name) for case in dataset.cases] == [
        ("case x", "x_0000.nii.gz", "x.nii.gz")
    ]
    assert read(dataset) == [1, 0, 0, 0, 0, 0]
    write_json(tmp_path, labels={"organ": 1}, dataset={"x": {**said, "images": said["images"][::-1]}})
    with pytest.raises(InputError, match=r"dataset\.json: case x: name its channels alike"):
        read_cases(tmp_path)
    write_json(tmp_path, labels={"organ": 1}, dataset={"x": {**said, "label": "drawn/y.nii.gz"}})
    with pytest.raises(InputError, match=r"dataset\.json: case x: there is no .*y\.nii\.gz"):
        read_cases(tmp_path)


def test_the_decathlons_names_and_its_channels_in_one_file(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    array = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "imagesTr/BRATS_001.nii.gz")
    write_label(tmp_path / "labelsTr/BRATS_001.nii.gz", 2)
    write_json(tmp_path, modality={"0": "FLAIR", "1": "T1w"}, labels={"0": "background", "1": "edema", "2": "tumour"})
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.channels, dataset.modality) == ("decathlon", ["FLAIR", "T1w"], "MR")
    assert structures(dataset) == [(1, "edema"), (2, "tumour")]
    assert read(dataset) == [2, 0, 0, 0, 0, 0]


def test_a_dataset_json_beside_ones_own_folders_counts_too(tmp_path):
    write_scan(tmp_path / "images/a.nii.gz")
    write_label(tmp_path / "labels/a.nii.gz", 1)
    write_json(tmp_path, modality={"0": "CT"}, labels={"0": "background", "1": "liver"})
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.modality, dataset.channels) == ("own", "CT", ["CT"])
    assert dataset.labels[0].snomed == "10200004"


@pytest.mark.parametrize(
    "labels", [{"Background": 0, "organ": 1, "Ignore": 2}, {"0": "Background", "1": "organ", "2": "IGNORE"}]
)
def test_what_stands_for_no_structure_may_be_written_with_capitals(nnunet, labels):
    write_json(nnunet, channel_names=CHANNELS, labels=labels)
    dataset = read_dataset(nnunet)
    assert (structures(dataset), dataset.ignore) == ([(1, "organ")], 2)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no object"),
        pytest.param("[" * 100_000, "cannot be read as JSON", id="deep"),
        ({}, "field 'labels'"),
        ({"labels": {}}, "field 'labels'"),
        ({"labels": ["liver"]}, "field 'labels'"),
        ({"labels": {"background": 0}}, "field 'labels'"),
        ({"labels": {"background": 1, "liver": 2}}, "field 'labels'"),
        ({"labels": {"liver": 0}}, "field 'labels'"),
        ({"labels": {"liver": 1, "spleen": 1}}, "field 'labels'"),
        ({"labels": {"liver": "1"}}, r"field 'labels\.liver'"),
        ({"labels": {"liver": -1}}, r"field 'labels\.liver'"),
        ({"labels": {"liver": True}}, r"field 'labels\.liver'"),
        ({"labels": {"liver": []}}, r"field 'labels\.liver'"),
        ({"labels": {"liver": 1, "ignore": 1}}, r"field 'labels\.ignore'"),
        ({"labels": {"liver": 1, "ignore": [2, 3]}}, r"field 'labels\.ignore'"),
        ({"labels": {"a": [1, 2], "b": 2}, "regions_class_order": [1]}, "field 'regions_class_order'"),
        ({"labels": {"a": [1, 2], "b": 2}, "regions_class_order": [1, 7]}, "field 'regions_class_order'"),
        ({"labels": {"liver": 1}, "channel_names": ["CT"]}, "field 'channel_names'"),
        ({"labels": {"liver": 1}, "channel_names": {"1": "CT"}}, "field 'channel_names'"),
        ({"labels": {"liver": 1}, "modality": {"0": 3}}, "field 'modality'"),
        ({"labels": {"liver": 1}, "modality": {}}, "field 'modality'"),
        ({"labels": {"liver": 1}, "dataset": []}, "field 'dataset'"),
        ({"labels": {"liver": 1}, "dataset": {"a": {"images": []}}}, r"field 'dataset\.a'"),
        ({"labels": {"liver": 1}, "dataset": {"a": {"images": ["a"], "label": 3}}}, r"field 'dataset\.a'"),
    ],
)
def test_a_dataset_json_that_cannot_be_used_is_named_with_its_field(nnunet, said, field):
    (nnunet / "dataset.json").write_text(said if isinstance(said, str) else json.dumps(said))
    with pytest.raises(InputError, match=rf"dataset\.json: {field}"):
        read_dataset(nnunet)


def test_channels_that_differ_between_cases_name_the_case(nnunet):
    write_json(nnunet, channel_names=CHANNELS, labels={"organ": [1, 2], "lesion": 3})
    (nnunet / "imagesTr/b_2_0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"b_2_0000\.nii\.gz: case b_2 has 1 channel, dataset\.json names 2"):
        read_dataset(nnunet)
    write_scan(nnunet / "imagesTr/b_2_0002.nii.gz")
    with pytest.raises(InputError, match=r"b_2_0001\.nii\.gz is missing"):
        read_dataset(nnunet)
    for channel in (1, 3):
        write_scan(nnunet / f"imagesTr/b_2_{channel:04d}.nii.gz")
    with pytest.raises(InputError, match="case b_2 has 4 channels"):
        read_dataset(nnunet)


def test_channels_without_names_are_counted(nnunet):
    dataset = read_dataset(nnunet, labels={1: "a", 2: "b", 3: "c"})
    assert dataset.channels == ["channel 1", "channel 2"]


def test_scans_of_which_only_some_are_named_by_channel_are_refused(nnunet):
    write_json(nnunet, channel_names=CHANNELS, labels={"organ": 1})
    write_scan(nnunet / "imagesTr/c.nii.gz")
    with pytest.raises(InputError, match=r"c\.nii\.gz: has no number of a channel"):
        read_cases(nnunet)


def test_files_of_one_channel_in_two_formats_collide(nnunet):
    write_scan(nnunet / "imagesTr/a_1_0000.nii")
    with pytest.raises(InputError, match=r"a_1_0000\.nii.*has the same case id; keep one of the two"):
        read_cases(nnunet)


def test_btcv(tmp_path):
    place = tmp_path / "RawData" / "Training"
    for number, values in (("0001", (1, 7, 13)), ("0010", (6,))):
        write_scan(place / f"img/img{number}.nii.gz")
        write_label(place / f"label/label{number}.nii.gz", *values)
    write_scan(place / "img/img0061.nii.gz")
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.modality, dataset.values) == ("btcv", "CT", {})
    assert [(case.id, case.label and case.label.name) for case in dataset.cases] == [
        ("img0001", "label0001.nii.gz"), ("img0010", "label0010.nii.gz"), ("img0061", None),
    ]  # fmt: skip
    names = dict(structures(dataset))
    assert (len(names), names[1], names[2], names[6], names[13]) == (
        13, "spleen", "kidney_right", "liver", "adrenal_gland_left",
    )  # fmt: skip
    assert all(label.snomed for label in dataset.labels)
    assert read(dataset) == [1, 7, 13, 0, 0, 0]


@pytest.mark.parametrize(("below", "label"), [("", "segmentation"), ("dataset", "aggregated_MAJ_seg")])
def test_kits(tmp_path, below, label):
    place = tmp_path / below
    for case in ("case_00000", "case_00001"):
        write_scan(place / case / "imaging.nii.gz")
        write_label(place / case / f"{label}.nii.gz", 1, 2, 3)
    write_scan(place / "case_00210/imaging.nii.gz")
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.modality) == ("kits", "CT")
    assert [case.id for case in dataset.cases if case.label] == ["case_00000", "case_00001"]
    assert structures(dataset) == [(1, "kidney"), (2, "tumor"), (3, "cyst")]
    assert dataset.regions == {"kidney and masses": [1, 2, 3], "masses": [2, 3], "tumor": [2]}
    assert read(dataset) == [1, 2, 3, 0, 0, 0]


def test_lits(tmp_path):
    write_scan(tmp_path / "batch 1/volume-0.nii")
    write_label(tmp_path / "batch 2/segmentation-0.nii", 1, 2)
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.modality, structures(dataset)) == ("lits", "CT", [(1, "liver"), (2, "tumor")])
    assert read(dataset) == [1, 2, 0, 0, 0, 0]
    assert structures(read_dataset(tmp_path, structures=["tumor"])) == [(1, "tumor")]
    assert read(read_dataset(tmp_path, structures=["tumor"])) == [0, 1, 0, 0, 0, 0]


OLD, NEW = ("_t1", "_t1ce", "_t2", "_flair"), ("-t1n", "-t1c", "-t2w", "-t2f")


@pytest.mark.parametrize(
    ("case", "endings", "label", "enhancing"),
    [("HGG/Brats18_X_1", OLD, "_seg", 4), ("BraTS2021_00000", OLD, "_seg", 4), ("BraTS-GLI-00000-000", NEW, "-seg", 3)],
)
def test_brats(tmp_path, case, endings, label, enhancing):
    name = case.split("/")[-1]
    for seed, ending in enumerate(endings):
        write_scan(tmp_path / case / f"{name}{ending}.nii.gz", seed)
    write_label(tmp_path / case / f"{name}{label}.nii.gz", 1, 2, enhancing)
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.modality, len(dataset.channels)) == ("brats", "MR", 4)
    assert [item.id for item in dataset.cases] == [name]
    assert structures(dataset) == [(1, "necrotic core"), (2, "edema"), (3, "enhancing tumor")]
    assert dataset.values == ({} if enhancing == 3 else {1: 1, 2: 2, 4: 3})
    assert dataset.regions == {"whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]}
    assert read(dataset) == [1, 2, 3, 0, 0, 0]
    (tmp_path / case / f"{name}{endings[2]}.nii.gz").unlink()
    with pytest.raises(InputError, match=rf"{name}{endings[2]}\.nii\.gz is missing"):
        read_dataset(tmp_path)


def test_a_structure_without_a_file_in_one_case_names_the_case(tmp_path):
    for case, names in (("s1", ("liver", "spleen")), ("s2", ("liver",))):
        write_scan(tmp_path / case / "ct.nii.gz")
        for name in names:
            write_label(tmp_path / case / "segmentations" / f"{name}.nii.gz", 1)
    with pytest.raises(InputError, match="case s2 has no volume of 'spleen'"):
        read_dataset(tmp_path)
    assert structures(read_dataset(tmp_path, structures=["liver"])) == [(1, "liver")]


def write_segments(path, *names) -> None:
    """A `.seg.nrrd` whose segments are planes along x, with numbers from 7 on."""
    array = np.zeros((6, 4, 4), np.uint8)
    for x in range(len(names)):
        array[x] = 7 + x
    pairs = "".join(
        f"Segment{n}_ID:=Segment_{n}\nSegment{n}_Name:={name}\nSegment{n}_LabelValue:={7 + n}\nSegment{n}_Layer:=0\n"
        for n, name in enumerate(names)
    )
    header = (
        "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 4 4\n"
        "space directions: (-1,0,0) (0,-1,0) (0,0,3)\nkinds: domain domain domain\nencoding: raw\n"
        f"space origin: (0,0,0)\n{pairs}\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + array.tobytes(order="F"))
    assert read_nrrd(path)[0].shape == (6, 4, 4)


def test_segments_are_learnt_by_their_names_in_whatever_spelling_and_order(tmp_path):
    for case, names in (("a", ("Liver", "left kidney")), ("b", ("kidney_left", "tumour", "ignore"))):
        write_scan(tmp_path / f"images/{case}.nii.gz")
        write_segments(tmp_path / f"labels/{case}.seg.nrrd", *names)
    dataset = read_dataset(tmp_path)
    assert structures(dataset) == [(1, "Liver"), (2, "left kidney"), (3, "tumour")]
    assert (dataset.values, dataset.notes) == ({}, ())
    assert [read(dataset, case) for case in (0, 1)] == [[1, 2, 0, 0, 0, 0], [2, 3, IGNORED, 0, 0, 0]]
    write_scan(tmp_path / "images/c.nii.gz")
    write_label(tmp_path / "labels/c.nii.gz", 1)
    with pytest.raises(InputError, match=r"c\.nii\.gz: its structures have no names, those of a\.seg\.nrrd have"):
        read_dataset(tmp_path)


def test_a_thousand_structures_are_read(tmp_path):
    write_scan(tmp_path / "images/a.nii.gz")
    values = np.arange(6 * 4 * 4).reshape(6, 4, 4) * 11
    (tmp_path / "labels").mkdir()
    write_volume(tmp_path / "labels/a.nii.gz", values.astype(np.uint16), AFFINE)
    dataset = read_dataset(tmp_path)
    assert len(dataset.labels) == 95
    many = read_dataset(tmp_path, labels={value: f"part {value}" for value in range(1, 1046)})
    assert (len(many.labels), many.values) == (1045, {})
    assert len({label.rgb for label in many.labels}) > 500
    assert read(many)[1] == 16 * 11


def test_every_layout_has_a_name_and_says_how_it_looks():
    assert [layout.name for layout in LAYOUTS] == [
        "own", "nnunet", "decathlon", "btcv", "totalsegmentator", "kits", "brats", "lits",
    ]  # fmt: skip
    with pytest.raises(InputError) as caught:
        read_cases("nowhere")
    assert all(layout.tree in str(caught.value) for layout in LAYOUTS)
