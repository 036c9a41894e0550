"""Scans of several channels: one file each, and a missing one is named."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import generate_uid

from Testing.Python.uncertaintyseg.dicom_files import Slice, write_classic
from uncertaintyseg.data.channels import channel_files, first_channel, read_channels
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def write(path, seed: int = 0, affine=AFFINE) -> None:
    write_volume(path, np.random.default_rng(seed).normal(size=(4, 5, 6)).astype(np.float32), affine)


@pytest.fixture
def case(tmp_path):
    for channel in range(2):
        write(tmp_path / f"case_{channel:04d}.nii.gz", channel)
    return tmp_path


def test_channels_come_in_order_whatever_names_them(case):
    files = [case / "case_0000.nii.gz", case / "case_0001.nii.gz"]
    expected = np.concatenate([read_scan(file).numpy() for file in files])
    for given in (files[0], files, case):
        scan = read_channels(given, 2)
        assert np.array_equal(scan.numpy(), expected)
        assert np.array_equal(scan.affine.numpy(), AFFINE)
        assert scan.meta["filename_or_obj"] == str(files[0])


def test_one_channel_is_the_scan_itself(case):
    assert np.array_equal(read_channels(case / "case_0001.nii.gz", 1), read_scan(case / "case_0001.nii.gz"))


def test_a_missing_channel_is_named(case):
    with pytest.raises(InputError, match=r"takes 3 channels, one file each; case_0002\.nii\.gz is missing"):
        read_channels(case / "case_0000.nii.gz", 3)
    write(case / "plain.nii.gz")
    with pytest.raises(InputError, match=r"plain_0000\.nii\.gz is missing"):
        read_channels(case / "plain.nii.gz", 2)
    with pytest.raises(InputError, match="1 files were given"):
        read_channels([case / "case_0000.nii.gz"], 2)


def test_channels_on_different_grids_are_refused(case):
    write(case / "case_0001.nii.gz", affine=2 * AFFINE)
    with pytest.raises(InputError, match=r"case_0001\.nii\.gz: its grid is not that of"):
        read_channels(case / "case_0000.nii.gz", 2)


def test_a_folder_of_several_scans_does_not_say_which(case):
    write(case / "other_0000.nii.gz")
    with pytest.raises(InputError, match="2 scans"):
        read_channels(case, 2)


def test_raw_folders_of_nnunet_are_cases_by_their_labels(tmp_path):
    for name in ("a", "b"):
        for channel in range(2):
            write(tmp_path / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        write_volume(tmp_path / "labelsTr" / f"{name}.nii.gz", np.ones((4, 5, 6), np.uint8), AFFINE)
    cases = read_cases(tmp_path)
    assert [case.id for case in cases] == ["a", "b"]
    assert [case.image.name for case in cases] == ["a_0000.nii.gz", "b_0000.nii.gz"]
    assert all(case.label for case in cases)


def test_numbers_at_the_end_of_a_name_are_no_channels_where_labels_have_them_too(tmp_path):
    for name in ("scan_0000", "scan_0001"):
        write(tmp_path / "images" / f"{name}.nii.gz")
        write_volume(tmp_path / "labels" / f"{name}.nii.gz", np.ones((4, 5, 6), np.uint8), AFFINE)
    assert [case.id for case in read_cases(tmp_path)] == ["scan_0000", "scan_0001"]


def write_4d(path, channels: int = 3, axes: tuple[int, ...] = ()) -> np.ndarray:
    array = np.random.default_rng(0).normal(size=(4, 5, 6, *axes, channels)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return np.moveaxis(array.reshape(4, 5, 6, channels), 3, 0)


@pytest.mark.parametrize("axes", [(), (1,)])
def test_one_file_may_hold_all_channels(tmp_path, axes):
    file = tmp_path / "BRATS_001.nii.gz"
    array = write_4d(file, axes=axes)
    for given in (file, [file]):
        assert channel_files(given, 3) == [file]
        assert np.array_equal(read_channels(given, 3).numpy(), array)
    assert np.array_equal(first_channel(file, 3).numpy(), array[:1])
    with pytest.raises(InputError, match=r"BRATS_001\.nii\.gz: holds 3 channels; this model takes 4"):
        read_channels(file, 4)
    with pytest.raises(InputError, match=r"BRATS_001\.nii\.gz: expected one 3D volume with one channel"):
        read_channels(file, 1)


def test_a_channel_that_is_constant_is_refused_in_one_file_too(tmp_path):
    array = np.zeros((4, 5, 6, 2), np.float32)
    array[0, ..., 0] = 1
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: every voxel is 0"):
        read_channels(tmp_path / "a.nii", 2)


@pytest.mark.parametrize("endings", [("_t1", "_t1ce", "_t2", "_flair"), ("-t1n", "-t1c", "-t2w", "-t2f")])
def test_sequences_are_found_by_the_names_that_brats_gives_them(tmp_path, endings):
    files = [tmp_path / f"BraTS_001{ending}.nii.gz" for ending in endings]
    for seed, file in enumerate(files):
        write(file, seed)
    assert channel_files(files[0], 4) == files
    assert np.array_equal(read_channels(files[0], 4)[2], read_scan(files[2])[0])
    files[3].unlink()
    with pytest.raises(InputError, match=rf"BraTS_001{endings[3]}\.nii\.gz is missing"):
        read_channels(files[0], 4)


def test_dicom_series_are_channels_where_all_are_given(tmp_path):
    rng, folders = np.random.default_rng(0), [tmp_path / "T1", tmp_path / "CT"]
    for folder in folders:
        pixels = rng.integers(0, 1000, (5, 6, 7)).astype(np.uint16)
        slices = [Slice(plane, (0.0, 0.0, 3.0 * place)) for place, plane in enumerate(pixels)]
        write_classic(folder, slices, series=generate_uid())
    expected = np.concatenate([read_scan(folder).numpy() for folder in folders])
    assert np.array_equal(read_channels(folders, 2).numpy(), expected)
    with pytest.raises(InputError, match=r"one DICOM series, of one channel; this model takes 2 channels \(T1, CT\)"):
        read_channels(folders[0], 2, ["T1", "CT"])
