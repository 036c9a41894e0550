"""Labels of which a person has seen a part: the rest counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.case_labels import IGNORED, read_case_label, read_case_raters
from uncertaintyseg.data.label_map import read_mapped_label
from uncertaintyseg.data.layouts import read_cases, with_labels
from uncertaintyseg.data.transforms import ReadCased
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

IDS = {"organ": 1, "lesion": 2}
AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
SHAPE = (6, 5, 4)


@pytest.fixture
def drawn() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.fixture
def seen() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, :2, 1:] = 1
    return mask


@pytest.fixture
def data(tmp_path, drawn, seen):
    write_volume(tmp_path / "images" / "a.nii.gz", np.arange(drawn.size, dtype=np.int16).reshape(SHAPE), AFFINE)
    write_volume(tmp_path / "labels" / "a.nii.gz", drawn, AFFINE)
    write_volume(tmp_path / "verified" / "a.nii.gz", seen, AFFINE)
    return tmp_path


def test_outside_of_what_a_person_has_seen_nothing_is_known(data, drawn, seen):
    (case,) = read_cases(data)
    expected = np.where(seen == 1, drawn.astype(int), IGNORED)
    np.testing.assert_array_equal(read_case_label(case, IDS)[0], expected)
    np.testing.assert_array_equal(read_mapped_label(case, IDS, {})[0], expected)
    swapped = np.where(seen == 1, np.array([0, 2, 1])[drawn], IGNORED)
    np.testing.assert_array_equal(read_mapped_label(case, IDS, {"1": "lesion", "2": "organ"})[0], swapped)
    items = {"image": str(case.image), "label": str(case.label), "verified": str(case.verified)}
    read = ReadCased(IDS)(items)
    np.testing.assert_array_equal(read["label"][0], expected)
    assert read.keys() == {"image", "label"}


def test_an_ignored_id_is_passed_over_whatever_the_ids_stand_for(data, drawn):
    write_volume(data / "labels" / "a.nii.gz", np.where(drawn == 2, 9, drawn).astype(np.uint8), AFFINE)
    (data / "verified" / "a.nii.gz").unlink()
    (case,) = read_cases(data)
    found = read_mapped_label(case, IDS, {"1": "lesion"}, ignore=9)
    np.testing.assert_array_equal(found[0], np.array([0, 2, IGNORED])[drawn])
    np.testing.assert_array_equal(read_mapped_label(case, IDS, {}, ignore=9)[0], np.array([0, 1, IGNORED])[drawn])


def test_other_labels_of_the_same_scan_are_not_what_was_looked_at(data, drawn):
    write_volume(data / "raters" / "a_1.nii.gz", drawn, AFFINE)
    write_volume(data / "other" / "a.nii.gz", drawn, AFFINE)
    (case,) = read_cases(data)
    (rater,) = read_case_raters(case, IDS)
    np.testing.assert_array_equal(rater[0], drawn)
    (other,) = with_labels([case], data / "other")
    np.testing.assert_array_equal(read_case_label(other, IDS)[0], drawn)


def test_a_mask_of_no_label_is_refused(data, seen):
    write_volume(data / "verified" / "b.nii.gz", seen, AFFINE)
    with pytest.raises(InputError, match=r"b\.nii\.gz.*no such label; rename"):
        read_cases(data)


@pytest.mark.parametrize(
    ("mask", "affine", "reason"),
    [
        (np.full(SHAPE, 2, np.uint8), AFFINE, "2"),
        (np.ones((6, 5, 3), np.uint8), AFFINE, "6 x 5 x 3"),
        (np.ones(SHAPE, np.uint8), np.diag([2.0, 1.0, 4.0, 1.0]), "grid|affine|spacing|place"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_by_name(data, mask, affine, reason):
    write_volume(data / "verified" / "a.nii.gz", mask, affine)
    (case,) = read_cases(data)
    with pytest.raises(InputError, match=rf"(?s)verified.*a\.nii\.gz.*({reason})"):
        read_case_label(case, IDS)
