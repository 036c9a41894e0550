"""Which slices of a folder are shown, and which folders show nothing."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.flat import write_pictures
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.examples import examples_of, read_examples
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def write_case(folder, case, label, verified=None, affine=AFFINE):
    rng = np.random.default_rng(len(case))
    write_volume(folder / "images" / f"{case}.nii.gz", rng.random(label.shape, np.float32), affine)
    write_volume(folder / "labels" / f"{case}.nii.gz", label.astype(np.uint8), affine)
    if verified is not None:
        write_volume(folder / "verified" / f"{case}.nii.gz", verified.astype(np.uint8), affine)


def squares(places, number=1, shape=(16, 16, 10)):
    label = np.zeros(shape, np.uint8)
    label[4:9, 4:9, list(places)] = number
    return label


def places(examples):
    return [(one.case, one.place) for one in examples.slices]


def test_slices_in_which_something_is_drawn_are_shown_with_it(tmp_path):
    write_case(tmp_path, "a", squares([2, 3, 7]))
    found = read_examples(tmp_path, 16)
    assert places(found) == [("a", 2), ("a", 3), ("a", 7)]
    assert found.plane == "axial"
    assert found.images.shape == (3, 1, 16, 16)
    assert found.labels.shape == (1, 3, 1, 16, 16)
    assert (found.labels.flatten(2).sum(2) == 25).all()
    assert found.labels[0, 0, 0, 4:9, 4:9].all()
    assert (float(found.images.min()), float(found.images.max())) == (0, 1)
    assert found.spacing == (1, 1, 3)


def test_of_many_as_many_of_each_case_are_taken_far_from_each_other(tmp_path):
    write_case(tmp_path, "a", squares(range(10)))
    write_case(tmp_path, "b", squares([5]))
    assert places(read_examples(tmp_path, 16, most=5)) == [("a", 1), ("a", 3), ("a", 6), ("a", 8), ("b", 5)]
    assert len(read_examples(tmp_path, 16, most=1).slices) == 1


def test_slices_of_one_case_may_go_before_those_of_all_others(tmp_path):
    write_case(tmp_path, "a", squares(range(10)))
    write_case(tmp_path, "b", squares([2, 5, 6]))
    dataset = read_dataset(tmp_path)
    assert places(examples_of(dataset, 16, most=5, first="b")) == [("a", 2), ("a", 7), ("b", 2), ("b", 5), ("b", 6)]
    assert places(examples_of(dataset, 16, most=2, first="b")) == [("b", 2), ("b", 6)]
    assert places(examples_of(dataset, 16, most=2, first="c")) == places(read_examples(tmp_path, 16, most=2))


def test_a_slice_is_found_again_in_the_stored_scan(tmp_path):
    """The voxels of the axis that was stored are those that were drawn, whichever way it runs."""
    turned = np.array([[0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])
    label = squares([2, 6]).transpose(1, 2, 0)[::-1]
    write_case(tmp_path, "a", label, affine=turned)
    found = read_examples(tmp_path, 16).slices
    assert np.flatnonzero(label.any((0, 2))).tolist() == [2, 6]
    assert {one.voxel for one in found} == {(1, 2), (1, 6)}
    assert [one.place for one in found] == [3, 7]  # from below; the axis runs down
    coronal = read_examples(tmp_path, 16, plane="coronal").slices
    assert {one.voxel for one in coronal} == {(0, place) for place in np.flatnonzero(label.any((1, 2)))}


def test_each_structure_is_in_one_of_them(tmp_path):
    label = squares(range(10))
    label[0:2, 0, 9] = 2
    write_case(tmp_path, "a", label)
    found = read_examples(tmp_path, 16, most=2)
    assert places(found) == [("a", 2), ("a", 7), ("a", 9)]
    assert found.labels[1].flatten(1).any(1).tolist() == [False, False, True]


def test_of_what_somebody_looked_at_whole_slices_count_and_those_that_show_nothing_too(tmp_path):
    verified = np.zeros((16, 16, 10))
    verified[:, :, 3:5] = 1  # one with, one without the structure
    verified[4:9, 4:9, 7] = 1  # a part
    write_case(tmp_path, "a", squares([2, 3, 7]), verified)
    found = read_examples(tmp_path, 16)
    assert places(found) == [("a", 3), ("a", 4)]
    assert found.labels.flatten(2).any(2).tolist() == [[True, False]]


def test_slices_run_along_the_plane_that_was_asked_for_in_any_axis_order(tmp_path):
    turned = np.array([[0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])
    write_case(tmp_path, "a", squares([2]).transpose(1, 2, 0)[::-1], affine=turned)
    assert places(read_examples(tmp_path, 16)) == [("a", 2)]
    assert places(read_examples(tmp_path, 16, plane="sagittal")) == [("a", x) for x in range(4, 9)]


def test_images_show_themselves(tmp_path):
    write_pictures(tmp_path, range(3))
    found = read_examples(tmp_path, 32, most=2)
    assert found.plane is None
    assert len({one.case for one in found.slices}) == 2
    with pytest.raises(InputError, match="of images and clips there is no axial plane; leave --plane out"):
        read_examples(tmp_path, 32, plane="axial")


@pytest.mark.parametrize(("drawn", "said"), [(0, "no pixels of 'x'"), (1, "1 pixel of 'x'")])
def test_a_structure_of_no_or_one_pixel_is_refused(tmp_path, drawn, said):
    label = np.zeros((16, 16, 10), np.uint8)
    label[3, 3, 3] = drawn
    write_case(tmp_path, "a", label)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "x": 1}}')
    with pytest.raises(InputError, match=f"its labels show {said}: draw it in one slice at least"):
        read_examples(tmp_path, 16)


def test_a_structure_smaller_than_a_pixel_of_the_network_is_refused(tmp_path):
    label = np.zeros((64, 64, 3), np.uint8)
    label[8, 8, :2] = 1
    write_case(tmp_path, "a", label)
    with pytest.raises(InputError, match=r"shows 'structure 1' at 8 x 8 pixels: .* crop the scans around it"):
        read_examples(tmp_path, 8)


def test_boxes_that_cover_no_whole_slice_are_refused(tmp_path):
    write_case(tmp_path, "a", squares([2]), squares([2]))
    with pytest.raises(InputError, match="no slice that verified/ covers whole shows 'structure 1'"):
        read_examples(tmp_path, 16)


def test_an_image_among_volumes_is_left_out_by_name(tmp_path):
    write_case(tmp_path, "a", squares([0], shape=(16, 16, 1)))
    write_case(tmp_path, "b", squares([2]))
    write_case(tmp_path, "c", squares([3]))
    found = read_examples(tmp_path, 16)
    assert (places(found), found.left_out, found.plane) == ([("b", 2), ("c", 3)], ["a"], "axial")
    write_case(tmp_path, "d", squares([0], shape=(16, 16, 1)))
    write_case(tmp_path, "e", squares([0], shape=(16, 16, 1)))
    mostly_images = read_examples(tmp_path, 16)
    assert ([case for case, _ in places(mostly_images)], mostly_images.left_out) == (["a", "d", "e"], ["b", "c"])
    assert read_examples(tmp_path, 16, plane="axial").left_out == ["a", "d", "e"]


def test_a_model_of_volumes_is_shown_volumes_however_many_images_there_are(tmp_path):
    for case in "abc":
        write_case(tmp_path, case, squares([0], shape=(16, 16, 1)))
    with pytest.raises(InputError, match="there is no label of a volume: a, b, c cannot be shown"):
        examples_of(read_dataset(tmp_path), 16, flat=False)
    write_case(tmp_path, "d", squares([2]))
    found = examples_of(read_dataset(tmp_path), 16, flat=False)
    assert (places(found), found.left_out) == ([("d", 2)], ["a", "b", "c"])
