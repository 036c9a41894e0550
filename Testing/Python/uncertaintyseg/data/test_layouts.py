"""Finding cases in folders as data sets lay them out, their labels, and the committed splits."""

from __future__ import annotations

import json
import random
from itertools import chain

import numpy as np
import pytest

from uncertaintyseg.data.case_labels import read_case_label, read_case_raters
from uncertaintyseg.data.layouts import Case, find_real_data, labels_of_no_scan, read_cases
from uncertaintyseg.data.phantom import LABELS, make_phantom, write_phantoms
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

hippocampus = find_real_data("msd_hippocampus")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder):
    return {
        case.id: (str(case.image.relative_to(folder)), case.label and str(case.label.relative_to(folder)))
        for case in read_cases(folder)
    }


def test_images_and_labels_are_paired_by_name_whatever_their_format(tmp_path):
    touch(
        tmp_path, "images/b.nrrd", "images/a.nii.gz", "images/c.mha", "labels/a.nii.gz", "labels/b.nii", "labels/x.nii"
    )
    (tmp_path / "images" / "dicom").mkdir()
    assert found(tmp_path) == {
        "a": ("images/a.nii.gz", "labels/a.nii.gz"),
        "b": ("images/b.nrrd", "labels/b.nii"),
        "c": ("images/c.mha", None),
        "dicom": ("images/dicom", None),
    }
    assert [case.id for case in read_cases(tmp_path)] == ["a", "b", "c", "dicom"]


@pytest.mark.parametrize("ending", [".seg.nrrd", "_seg.nii.gz", "-seg.nii", "_label.nii.gz", "-labels.nrrd",
    "_Mask.mha", "_segmentation.nii.gz", ".SEG.NRRD", "_gt.nii.gz", ".nii.gz"])  # fmt: skip
@pytest.mark.parametrize("where", ["labels", "images"])
def test_labels_are_found_under_the_names_that_programs_give_them(tmp_path, ending, where):
    touch(tmp_path, "images/my case.nii.gz", "images/b_seg_1.nii.gz", f"{where}/b_seg_1_seg.nii.gz")
    if (where, ending) != ("images", ".nii.gz"):
        touch(tmp_path, f"{where}/my case{ending}")
        assert found(tmp_path)["my case"] == ("images/my case.nii.gz", f"{where}/my case{ending}")
    assert found(tmp_path)["b_seg_1"] == ("images/b_seg_1.nii.gz", f"{where}/b_seg_1_seg.nii.gz")
    assert labels_of_no_scan(tmp_path) == []


def test_an_ending_is_part_of_the_name_where_a_scan_has_it(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/b_seg.nii.gz", "labels/a_seg.nii.gz", "labels/b_seg.nii.gz")
    assert found(tmp_path) == {
        "a": ("images/a.nii.gz", "labels/a_seg.nii.gz"),
        "b_seg": ("images/b_seg.nii.gz", "labels/b_seg.nii.gz"),
    }


@pytest.mark.parametrize("twin", ["labels/a_seg.nii.gz", "labels/a.seg.nrrd", "images/a_mask.nii.gz"])
def test_two_labels_of_one_scan_are_refused(tmp_path, twin):
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", twin)
    with pytest.raises(InputError, match="has the same case id; keep one of the two"):
        read_cases(tmp_path)


def test_nnunets_channels_are_paired_with_labels_of_any_ending(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.seg.nrrd")
    assert found(tmp_path) == {"a": ("imagesTr/a_0000.nii.gz", "labelsTr/a.seg.nrrd")}


def test_labels_that_belong_to_no_scan_are_listed(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "labels/b.nii.gz", "labels/c_seg.seg.nrrd", "labels/x.txt")
    assert [path.name for path in labels_of_no_scan(tmp_path)] == ["b.nii.gz", "c_seg.seg.nrrd"]
    touch(tmp_path, "other/volume-0.nii")
    assert labels_of_no_scan(tmp_path / "other") == []


def test_a_decathlon_task_is_read_and_what_macos_left_in_its_archive_is_ignored(tmp_path):
    touch(
        tmp_path,
        *(f"{part}/{name}" for part in ("imagesTr", "labelsTr") for name in ("spleen_2.nii.gz", "._spleen_2.nii.gz")),
    )
    touch(tmp_path, "imagesTr/.DS_Store", "imagesTs/spleen_1.nii.gz", "dataset.json")
    assert found(tmp_path) == {"spleen_2": ("imagesTr/spleen_2.nii.gz", "labelsTr/spleen_2.nii.gz")}


def test_totalsegmentator_labels_are_folders_of_structures(tmp_path):
    touch(tmp_path, "s0001/ct.nii.gz", "s0001/segmentations/liver.nii.gz", "s0002/mri.nii.gz", "meta.csv", ".git/x")
    assert found(tmp_path) == {
        "s0001": ("s0001/ct.nii.gz", "s0001/segmentations"),
        "s0002": ("s0002/mri.nii.gz", None),
    }


def test_lits_pairs_are_found_across_its_batches(tmp_path):
    touch(
        tmp_path,
        "batch 1/volume-0.nii",
        "batch 1/segmentation-0.nii",
        "batch 2/volume-10.nii",
        "seg/segmentation-10.nii.gz",
    )
    touch(tmp_path, "test-volume-3.nii", "batch 1/._volume-0.nii")
    assert found(tmp_path) == {
        "volume-0": ("batch 1/volume-0.nii", "batch 1/segmentation-0.nii"),
        "volume-10": ("batch 2/volume-10.nii", "seg/segmentation-10.nii.gz"),
    }


@pytest.mark.parametrize("content", [[], ["notes.txt"], ["images/notes.txt"], ["scan.nii.gz"]])
def test_an_unknown_layout_says_what_was_expected(tmp_path, content):
    touch(tmp_path, *content)
    with pytest.raises(InputError, match=r"images/ with labels/.*imagesTr.*TotalSegmentator.*LiTS") as caught:
        read_cases(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_cases(tmp_path / "nowhere")


def test_two_scans_of_one_id_are_refused(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/a.nrrd")
    with pytest.raises(InputError, match="same case id"):
        read_cases(tmp_path)


def test_ids_that_are_one_file_name_on_other_systems_are_refused(tmp_path):
    touch(tmp_path, "images/liver.nii.gz", "images/Liver.nii.gz", "labels/liver.nii.gz")
    if len(list((tmp_path / "images").iterdir())) == 2:
        with pytest.raises(
            InputError, match=r"liver\.nii\.gz: .*'liver' and 'Liver' are alike but for capitals.*rename"
        ):
            read_cases(tmp_path)


def test_raters_belong_to_the_scan_before_their_number(tmp_path):
    touch(tmp_path, *(f"images/{name}.nii.gz" for name in ("s", "s_1", "t")), "labels/s.nii.gz")
    touch(
        tmp_path,
        "raters/s_10.nii.gz",
        "raters/s_2.seg.nrrd",
        "raters/s_1_3.nii.gz",
        "raters/._s_1.nii",
        "raters/who.txt",
    )
    raters = {case.id: [path.name for path in case.raters] for case in read_cases(tmp_path)}
    assert raters == {"s": ["s_2.seg.nrrd", "s_10.nii.gz"], "s_1": ["s_1_3.nii.gz"], "t": []}


@pytest.mark.parametrize("name", ["s", "s_", "s_0", "s_01", "s_a", "s-1", "S_1", "other_1", "_1"])
def test_a_rater_whose_name_fits_no_scan_is_refused(tmp_path, name):
    touch(tmp_path, "images/s.nii.gz", "raters/s_1.nii.gz", f"raters/{name}.mha")
    with pytest.raises(InputError, match=rf"{name}\.mha: raters/ holds <id>_<n>"):
        read_cases(tmp_path)


def test_one_rater_in_two_formats_is_refused(tmp_path):
    touch(tmp_path, "imagesTr/s.nii.gz", "raters/s_1.nii.gz", "raters/s_1.nrrd")
    with pytest.raises(InputError, match="keep one of the two"):
        read_cases(tmp_path)


def test_phantoms_have_the_raters_they_were_drawn_by(tmp_path):
    write_phantoms(tmp_path, 1)
    (case,) = read_cases(tmp_path)
    scan, drawn = read_scan(case.image), make_phantom((0, 0)).raters
    raters = list(read_case_raters(case, LABELS, like=scan))
    assert len(raters) == len(drawn) == 3
    for found, wanted in zip(raters, drawn, strict=True):
        np.testing.assert_array_equal(found[0], wanted)
    with pytest.raises(InputError, match=r"phantom_000_1\.nii\.gz: unknown class id 1"):
        list(read_case_raters(case, {"lesion": 2}, like=scan))
    write_volume(case.raters[1], drawn[1][1:], scan.affine)
    with pytest.raises(InputError, match=r"phantom_000_2\.nii\.gz: its grid"):
        list(read_case_raters(case, LABELS, like=scan))


@pytest.fixture
def structures(tmp_path):
    liver, spleen = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    liver[:3], spleen[2:] = 1, 1
    touch(tmp_path, "s1/ct.nii.gz")
    for name, array in (("liver", liver), ("spleen", spleen)):
        write_volume(tmp_path / "s1" / "segmentations" / f"{name}.nii.gz", array, np.diag([1, 1, 3, 1]))
    return read_cases(tmp_path)[0]


def test_named_structures_are_merged_and_later_names_win(structures):
    label = read_case_label(structures, {"liver": 5, "spleen": 2})
    assert label.shape == (1, 4, 4, 4)
    assert label[0, :, 0, 0].tolist() == [5, 5, 2, 2]
    assert read_case_label(structures, {"spleen": 2, "liver": 5})[0, :, 0, 0].tolist() == [5, 5, 5, 2]


def test_a_structure_that_is_not_there_is_named(structures):
    with pytest.raises(InputError, match=r"kidney\.nii\.gz: no such file"):
        read_case_label(structures, {"liver": 5, "kidney": 2})
    with pytest.raises(InputError, match="name at least one structure"):
        read_case_label(structures, {})


def test_structures_on_different_grids_are_refused(structures):
    write_volume(structures.label / "kidney.nii.gz", np.zeros((4, 4, 5), np.uint8), np.diag([1, 1, 3, 1]))
    with pytest.raises(InputError, match=r"kidney\.nii\.gz: its grid"):
        read_case_label(structures, {"liver": 5, "kidney": 2})


def test_a_case_without_a_label_says_where_to_put_it(tmp_path):
    with pytest.raises(InputError, match="case a has no label"):
        read_case_label(Case("a", tmp_path / "a.nii.gz", None), {"organ": 1})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("msd_hippocampus", (110, 20, 40, 30)), ("phantom", (60, 10, 20, 10)), ("ultrasound", (180, 30, 40, 50))],
)
def test_committed_splits_have_the_promised_sizes_and_share_no_case(name, sizes):
    split = read_split(name)
    assert tuple(len(split[part]) for part in ("train", "validation", "calibration", "test")) == sizes
    assert len({case for part in split.values() for case in part}) == sum(sizes)


@pytest.mark.parametrize(("name", "ids"), [("phantom", "phantom_{:03d}"), ("ultrasound", "fetus_{:03d}")])
def test_the_splits_of_phantoms_name_what_the_scripts_write(name, ids):
    cases = sorted(chain(*read_split(name).values()))
    assert cases == [ids.format(i) for i in range(len(cases))]


def test_the_hippocampus_split_is_one_seeded_shuffle():
    split = read_split("msd_hippocampus")
    ids = sorted(chain(*split.values()))
    random.Random(0).shuffle(ids)
    assert [set(ids[a:b]) for a, b in ((0, 110), (110, 130), (130, 170), (170, 200))] == [
        set(p) for p in split.values()
    ]


def test_a_split_is_read_from_a_file_of_ones_own(tmp_path):
    split = {"train": ["a"], "validation": ["b"], "calibration": [], "test": ["c"]}
    (tmp_path / "mine.json").write_text(json.dumps(split))
    assert read_split(tmp_path / "mine.json") == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", "exactly the keys"),
        ('{"train": ["a"]}', "exactly the keys"),
        ('{"train": "abc", "validation": [], "calibration": [], "test": []}', "list of case ids"),
        ('{"train": ["a"], "validation": ["a"], "calibration": [], "test": []}', "a occurs more than once"),
    ],
)
def test_a_split_that_cannot_be_used_is_named(tmp_path, text, message):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_split(tmp_path / "mine.json")
    assert "mine.json" in str(caught.value)


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(InputError, match="known are msd_hippocampus, phantom"):
        read_split("liver")


def test_real_data_is_found_where_the_variable_points(tmp_path, monkeypatch):
    (tmp_path / "msd_hippocampus").mkdir()
    monkeypatch.setenv("UNCERTAINTYSEG_DATA", str(tmp_path))
    assert find_real_data("msd_hippocampus") == tmp_path / "msd_hippocampus"
    assert find_real_data("no_such_set") is None


@pytest.mark.skipif(hippocampus is None, reason="no Decathlon hippocampus beside the checkout")
def test_the_split_covers_the_real_hippocampus_cases_and_labels_fit_their_scans():
    cases = {case.id: case for case in read_cases(hippocampus)}
    split = read_split("msd_hippocampus")
    assert set(cases) == {case for part in split.values() for case in part}
    for case_id in split["validation"]:
        scan = read_scan(cases[case_id].image)
        label = read_case_label(cases[case_id], {"anterior": 1, "posterior": 2}, like=scan)
        assert set(label.unique().tolist()) == {0, 1, 2}
