"""CT and MR told apart, on real scans of both; odd units of voxels and of space."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import ultrasound_files
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.doubts import scan_doubts
from uncertaintyseg.data.phantom import make_phantom
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

CT = (
    "totalsegmentator_examples/images/example_ct.nii.gz",
    "totalsegmentator_examples/aorta_ct/ct_cropped.nii.gz",
    "totalsegmentator_examples/pulmonary_ct/ct_cropped.nii.gz",
    "totalsegmentator_examples/images/example_ct_dicom",
    "msd_spleen_samples/images/sub-spleen2_ct.nii.gz",
)
MR = (
    "totalsegmentator_examples/images/example_mr_sm.nii.gz",
    "msd_hippocampus/images/hippocampus_004.nii.gz",
    "sct_testing_data/images/t1w.nii.gz",
    "sct_testing_data/images/t2.nii.gz",
    "sct_testing_data/images/t2s_uncropped.nii.gz",
)


def read_doubts(path, expected):
    return scan_doubts(first_channel(path, 1), expected)


@pytest.mark.parametrize("scan", CT)
def test_a_ct_is_taken_for_a_ct(shared_data, scan):
    assert read_doubts(shared_data / scan, "CT") == []
    (doubt,) = read_doubts(shared_data / scan, "MR")
    assert "the model was trained on MR" in doubt
    assert doubt.startswith("is CT by its DICOM header" if scan.endswith("dicom") else "looks like a CT")


@pytest.mark.parametrize("scan", MR)
def test_an_mr_scan_is_not_taken_for_a_ct(shared_data, scan):
    assert read_doubts(shared_data / scan, "MR") == []
    (doubt,) = read_doubts(shared_data / scan, "CT")
    assert doubt.startswith(("does not look like the CT", "looks like a CT to which"))


@pytest.mark.parametrize("scan", CT)
@pytest.mark.parametrize("padding", [None, -2000])
def test_ct_numbers_with_1024_added_are_doubted(shared_data, tmp_path, scan, padding):
    volume = read_scan(shared_data / scan)
    stored = volume[0].numpy() + 1024
    if padding is not None:  # outside the field of view, where no intercept was lost
        stored[: len(stored) // 4] = padding
    write_volume(tmp_path / "stored.nii.gz", stored, volume.affine.numpy())
    (doubt,) = read_doubts(tmp_path / "stored.nii.gz", "CT")
    assert doubt.startswith("looks like a CT to which 1024 was added")
    assert "Subtract 1024" in doubt


def test_an_intercept_subtracted_twice_is_doubted(shared_data, tmp_path):
    volume = read_scan(shared_data / CT[0])
    write_volume(tmp_path / "twice.nii.gz", volume[0].numpy().clip(None, 200) - 1024, volume.affine.numpy())
    (doubt,) = read_doubts(tmp_path / "twice.nii.gz", "CT")
    assert "subtracted twice" in doubt


def test_ultrasound_is_told_by_its_header(tmp_path):
    file = ultrasound_files.write(tmp_path / "head.dcm", np.arange(64 * 48, dtype=np.uint8).reshape(1, 48, 64))
    (doubt,) = read_doubts(file, "MR")
    assert doubt.startswith("is US by its DICOM header")
    assert read_doubts(file, "US") == []


def test_a_phantom_has_hounsfield_units(tmp_path):
    case = make_phantom((0, 0), shape=(24, 24, 12), raters=1)
    write_volume(tmp_path / "phantom.nii.gz", case.image, case.affine)
    assert read_doubts(tmp_path / "phantom.nii.gz", "CT") == []


@pytest.mark.parametrize(
    ("factor", "doubted"), [(1e-3, "smaller"), (0.01, "smaller"), (0.1, ""), (1, ""), (10, ""), (1000, "larger")]
)
@pytest.mark.parametrize("expected", ["CT", None])
def test_voxels_of_another_unit_are_doubted_at_both_ends(tmp_path, factor, doubted, expected):
    case = make_phantom((0, 0), shape=(24, 24, 12), raters=1)
    write_volume(tmp_path / "phantom.nii.gz", case.image, np.diag([factor, factor, factor, 1]))
    doubts = read_doubts(tmp_path / "phantom.nii.gz", expected)
    assert len(doubts) == bool(doubted)
    assert all(f"has voxels of {factor:.3g} x {factor:.3g} x {factor:.3g} mm, {doubted} than" in one for one in doubts)


def test_a_scan_that_is_not_there_is_an_error(tmp_path):
    for expected in (None, "CT"):
        with pytest.raises(InputError, match="no such file"):
            read_doubts(tmp_path / "is not even there.nii.gz", expected)
