"""Names of segments onto class ids; layers, cropped grids, and what cannot be mapped."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.case_labels import IGNORED, read_case_label, read_case_raters
from uncertaintyseg.data.label_map import read_mapped_label
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.segments import (
    Segment,
    check_counting,
    class_ids,
    merge,
    segments_from_client,
    segments_in,
    segments_in_table,
    segments_of,
)
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

IDS = {"anterior": 1, "posterior": 2}
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 0.8, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
SHAPE = (7, 6, 5)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "images" / "a.nii.gz"
    write_volume(path, np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), AFFINE)
    return read_scan(path)


@pytest.fixture
def case(tmp_path):
    return Case("a", tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.seg.nrrd")


def numbers(seed=0, high=3):
    return np.random.default_rng(seed).integers(0, high, SHAPE).astype(np.uint8)


def voxels(label):
    return label[0].numpy()


# Names


@pytest.mark.parametrize(("first", "second"), list(permutations(["anterior", "posterior"])))
@pytest.mark.parametrize("values", [(1, 2), (2, 1), (7, 255)])
@pytest.mark.parametrize("spelled", [str, str.upper, "{} ".format, "{} (mine)".format])
def test_names_count_and_numbers_do_not(case, scan, first, second, values, spelled):
    drawn = numbers()
    stored = np.array([0, *values], np.uint8)[drawn]
    write_segmentation(case.label, stored, AFFINE, [Segment(first, values[0]), Segment(second, values[1])])
    ids = {spelled(name).strip(): number for name, number in IDS.items()}
    wanted = np.array([0, IDS[first], IDS[second]])[drawn]
    np.testing.assert_array_equal(voxels(read_case_label(case, ids, like=scan)), wanted)
    label = read_mapped_label(case, ids, {}, like=scan)
    np.testing.assert_array_equal(voxels(label), wanted)
    assert label.meta["structures"] == list(ids)


def test_a_lone_segment_is_not_renamed(case, scan):
    drawn = numbers(high=2)
    write_segmentation(case.label, drawn, AFFINE, [Segment("posterior", 1)])
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS, like=scan)), drawn * 2)


def test_a_file_that_itk_has_written_again_keeps_its_names(case, scan):
    drawn = numbers()
    write_segmentation(case.label, drawn, AFFINE, [Segment("posterior", 1), Segment("anterior", 2)])
    sitk.WriteImage(sitk.ReadImage(str(case.label)), str(case.label), True)
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS, like=scan)), np.array([0, 2, 1])[drawn])


def test_without_names_numbers_are_class_ids(case, scan):
    drawn = numbers()
    write_segmentation(case.label, drawn, AFFINE, [])
    assert segments_in(case.label) == []
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS, like=scan)), drawn)


@pytest.mark.parametrize("kind", [0, 30])  # TotalSegmentator's and Connectome Workbench's
def test_names_in_a_nifti_label_count_for_evaluation_too(case, scan, tmp_path, kind):
    drawn = numbers()
    table = "".join(f'<Label Key="{i}"><![CDATA[{n}]]></Label>' for i, n in ((1, "posterior"), (2, "anterior")))
    image = nib.Nifti1Image(drawn, AFFINE)
    text = f"<CaretExtension>{table}</CaretExtension>".encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension(kind, text))
    path = tmp_path / "named.nii.gz"
    nib.save(image, path)
    named = Case("a", case.image, path)
    np.testing.assert_array_equal(voxels(read_case_label(named, IDS, like=scan)), np.array([0, 2, 1])[drawn])


def test_segments_named_background_or_ignore_are_that(case, scan):
    drawn = numbers(high=4)
    segments = [Segment("Background", 1), Segment("ignore", 2), Segment("posterior", 3)]
    write_segmentation(case.label, drawn, AFFINE, segments)
    label = read_case_label(case, IDS, like=scan, ignore=3)
    np.testing.assert_array_equal(voxels(label), np.array([0, 0, IGNORED, 2])[drawn])
    with pytest.raises(InputError, match="'ignore' is none of"):
        read_case_label(case, IDS, like=scan)


def test_raters_go_by_names_too(case, scan):
    drawn = numbers()
    write_segmentation(case.label, drawn, AFFINE, [Segment("posterior", 1), Segment("anterior", 2)])
    raters = Case("a", case.image, None, (case.label,))
    np.testing.assert_array_equal(voxels(next(read_case_raters(raters, IDS, like=scan))), np.array([0, 2, 1])[drawn])


# Layers


def test_of_segments_in_layers_the_later_one_wins(case, scan):
    first, second = numbers(1), numbers(2, high=2)
    segments = [Segment("anterior", 1, 0), Segment("posterior", 1, 1), Segment("lesion", 2, 0)]
    write_segmentation(case.label, np.stack([first, second]), AFFINE, segments)
    wanted = np.where(first == 2, 3, np.where(second == 1, 2, first == 1))
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS | {"lesion": 3}, like=scan)), wanted)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4, unique=False), st.permutations(range(4)), st.data())
def test_merging_agrees_with_painting_one_segment_after_another(layers, order, data):
    names = ["a", "b", "c", "d"]
    segments = [Segment(names[k], 1 + k, layers[k]) for k in order]
    array = np.array(data.draw(st.lists(st.integers(0, 4), min_size=24, max_size=24)), np.uint8).reshape(3, 2, 2, 2)
    classes = {segment: 10 + number for number, segment in enumerate(segments) if segment.name != "d"}
    wanted = np.zeros((2, 2, 2), int)
    for segment, number in classes.items():
        wanted[array[segment.layer] == segment.value] = number
    np.testing.assert_array_equal(merge(array, segments, classes, others=True), wanted)


def test_older_files_have_a_layer_a_segment_without_numbers():
    pairs = {"Segment0_Name": "anterior", "Segment1_ID": "posterior", "Segment1_Color": "1 0 0", "Segment10_Name": "c"}
    assert segments_of(pairs) == [Segment("anterior", 1, 0), Segment("posterior", 1, 1), Segment("c", 1, 2)]


# Grids


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_a_cropped_and_turned_segmentation_lands_where_it_was_drawn(case, scan, axes, signs):
    drawn = np.zeros(SHAPE, np.uint8)
    box = np.s_[2:6, 1:4, 3:5]
    drawn[box] = np.random.default_rng(3).integers(0, 3, (4, 3, 2))
    shift = np.eye(4)
    shift[:3, 3] = 2, 1, 3
    part = drawn[box].transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    turn = np.zeros((4, 4))  # index of the part to index of the box
    turn[3, 3] = 1
    for k, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        turn[axis, k], turn[axis, 3] = sign, 0 if sign > 0 else part.shape[k] - 1
    write_segmentation(case.label, part, AFFINE @ shift @ turn, [Segment("anterior", 1), Segment("posterior", 2)])
    label = read_case_label(case, IDS, like=scan)
    np.testing.assert_array_equal(voxels(label), drawn)
    np.testing.assert_allclose(label.affine, scan.affine)


def test_a_grid_beyond_the_scan_will_do_while_nothing_is_drawn_there(case, scan):
    larger = np.zeros((9, 8, 7), np.uint8)
    larger[1:-1, 1:-1, 1:-1] = numbers(high=2)
    shift = np.eye(4)
    shift[:3, 3] = -1
    write_segmentation(case.label, larger, AFFINE @ shift, [Segment("anterior", 1)])
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS, like=scan)), numbers(high=2))
    larger[0, 0, 0] = larger[-1, 2, 2] = 1
    write_segmentation(case.label, larger, AFFINE @ shift, [Segment("anterior", 1)])
    with pytest.raises(InputError, match=r"a\.seg\.nrrd: 2 of its labelled voxels lie outside of the scan"):
        read_case_label(case, IDS, like=scan)


@pytest.mark.parametrize("moved", [np.diag([1.1, 1, 1, 1]), np.eye(4) + np.eye(4, k=3) * 0.4])
def test_a_grid_between_the_voxels_is_refused(case, scan, moved):
    write_segmentation(case.label, numbers(), AFFINE @ moved, [Segment("anterior", 1), Segment("posterior", 2)])
    with pytest.raises(InputError, match=r"a\.seg\.nrrd: its grid .* is not that of the scan .*a\.nii\.gz"):
        read_case_label(case, IDS, like=scan)


# What cannot be mapped


@pytest.mark.parametrize(("segments", "message"), [
    ([Segment("anterior", 1), Segment("tumour", 2)], "segment 'tumour' is none of the model's structures"),
    ([Segment("anterior", 1), Segment("Ignore", 2)], r"segment 'Ignore' is none.*is told by 'verified'"),
    ([Segment("anterior", 1)], "voxels of 2 belong to no segment"),
    ([Segment("anterior", 1), Segment("posterior", 1)], "'anterior' and 'posterior' have the same number"),
    ([Segment("anterior", 1), Segment("Anterior ", 2)], "segment 'Anterior' is none"),
    ([Segment("anterior", 1), Segment("posterior", 2, 1)], "'posterior' is in no layer"),
    ([Segment("anterior", 1), Segment("", 2)], "voxels of 2|Segment_2"),
    ([Segment("anterior", 0), Segment("posterior", 2)], "segment 0 has no name, label value or layer"),
])  # fmt: skip
def test_what_cannot_be_mapped_is_named_and_refused(case, scan, segments, message):
    write_segmentation(case.label, numbers(), AFFINE, segments)
    with pytest.raises(InputError, match=message) as caught:
        read_case_label(case, IDS, like=scan)
    assert str(case.label) in str(caught.value)


def test_an_empty_segment_of_another_name_does_no_harm(case, scan):
    segments = [Segment("anterior", 1), Segment("posterior", 2), Segment("remark", 3)]
    write_segmentation(case.label, numbers(), AFFINE, segments)
    np.testing.assert_array_equal(voxels(read_case_label(case, IDS, like=scan)), numbers())


@pytest.mark.parametrize("value", ["0.5", "-1", "", "1e3", "١", "70000", "one"])
@pytest.mark.parametrize("key", ["LabelValue", "Layer"])
def test_numbers_of_segments_are_whole_and_small(key, value):
    with pytest.raises(InputError, match="segment 0 has no name, label value or layer"):
        segments_of({"Segment0_Name": "a", f"Segment0_{key}": value})


# Maps for other people's labels


def test_a_map_goes_by_names_or_numbers_of_segments(case, scan):
    drawn = numbers(high=4)
    write_segmentation(case.label, drawn, AFFINE, [Segment("one", 1), Segment("two", 2), Segment("three", 3)])
    for label_map in ({"two": "anterior", "three": "posterior"}, {"2": "anterior", "three": "posterior"}):
        label = read_mapped_label(case, IDS, label_map, like=scan)
        np.testing.assert_array_equal(voxels(label), np.array([0, 0, 1, 2])[drawn])
    label = read_mapped_label(case, IDS, {"two": "posterior"}, like=scan)
    assert (label.meta["structures"], label.meta["unmatched"]) == (["posterior"], [])


def test_an_audit_leaves_out_and_names_segments_of_no_structure(case, scan):
    drawn = numbers()
    write_segmentation(case.label, drawn, AFFINE, [Segment("tumour", 1), Segment("anterior", 2)])
    label = read_mapped_label(case, IDS, {}, like=scan)
    np.testing.assert_array_equal(voxels(label), drawn == 2)
    assert (label.meta["structures"], label.meta["unmatched"]) == (["anterior"], ["tumour"])
    write_segmentation(case.label, drawn, AFFINE, [Segment("tumour", 1), Segment("cyst", 2)])
    with pytest.raises(InputError, match=r"cyst, tumour: no structure of the model.*--map"):
        read_mapped_label(case, IDS, {}, like=scan)
    with pytest.raises(InputError, match=r"cyst, tumour: no structure of the model"):
        read_mapped_label(case, IDS, {"liver": "anterior"}, like=scan)


# What clients say


def test_label_info_of_both_clients_is_understood():
    slicer = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}]
    ohif = [{"id": "0+1", "labelmapIndex": 0, "segmentIndex": 1, "name": "posterior"},
            {"id": "0+2", "labelmapIndex": 0, "segmentIndex": 2, "name": "anterior"}]  # fmt: skip
    for info in (slicer, ohif):
        assert class_ids(segments_from_client(info), IDS) == {Segment("posterior", 1): 2, Segment("anterior", 2): 1}
    assert segments_from_client(None) == segments_from_client([]) == []


@pytest.mark.parametrize("info", ["anterior", {"name": "a", "idx": 1}, [1], [{"name": "a"}], [{"idx": 1}], [None],
    [{"name": "", "idx": 1}], [{"name": "a", "idx": True}], [{"name": "a", "idx": 0}], [{"name": "a", "idx": 1.5}],
    [{"name": "a", "idx": "1"}], [{"name": ["a"], "idx": 1}], [{"name": "a", "idx": 10**30}],
    [{"name": "a", "idx": 1}, {"name": "b", "idx": 1}]])  # fmt: skip
def test_a_label_info_that_does_not_tell_is_refused(info):
    with pytest.raises(InputError, match=r"label_info|same number"):
        segments_from_client(info)


@pytest.mark.parametrize(("stated", "present", "is_clear"), [
    ((1, 2), (1, 2), True), ((1, 2), (2,), True), ((2, 1), (1,), True), ((2, 3), (2, 3), True), ((2, 3), (3,), True),
    ((2, 3), (2,), False), ((2, 3), (1, 2), False), ((2,), (2,), True), ((2,), (1,), False), ((1, 3), (1,), True),
    ((1, 3), (1, 3), True), ((1, 3), (2,), False), ((2, 3), (), True),
])  # fmt: skip
def test_numbers_that_may_be_places_are_refused_where_it_matters(stated, present, is_clear):
    """Slicer's plugin counts a segment 'background' in what it sends, and does not save it."""
    told = segments_from_client([{"name": f"s{number}", "idx": number} for number in stated])
    values = np.array([0, *present], np.uint8)
    if is_clear:
        check_counting(told, values)
    else:
        with pytest.raises(InputError, match="which is which cannot be told"):
            check_counting(told, values)


def test_more_segments_than_any_label_has_are_refused_whoever_tells_of_them():
    many = range(1, 2002)
    rows = [f'<Label Key="{number}"><![CDATA[s{number}]]></Label>' for number in many]
    pairs = {f"Segment{number}_Name": f"s{number}" for number in many}
    info = [{"name": f"s{number}", "idx": number} for number in many]
    for read, told in ((segments_in_table, "".join(rows)), (segments_of, pairs), (segments_from_client, info)):
        with pytest.raises(InputError, match="2001 segments, more than the 2000"):
            read(told)
    assert len(segments_in_table("".join(rows[1:]))) == len(segments_from_client(info[1:])) == 2000


def test_a_row_of_a_table_is_as_long_as_a_name_can_be():
    row = '<Label Key="1"{}><![CDATA[{}]]></Label>'
    assert segments_in_table(row.format(" Red='1'", "n" * 500)) == [Segment("n" * 500, 1)]
    assert segments_in_table(row.format("", "n" * 501)) == segments_in_table(row.format(" " * 501, "n")) == []
    assert segments_in_table('<Label Key="1" ' * 5461 + row.format("", "n")) == [Segment("n", 1)]
