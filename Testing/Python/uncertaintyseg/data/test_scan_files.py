"""Every file that a scan is made of is known, or the scan is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.errors import InputError

VOXELS = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
META = "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_FLOAT\n{}"
NRRD = "NRRD0004\ntype: float\ndimension: 3\nsizes: 6 5 4\nendian: little\nencoding: raw\n{}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scan.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "scan.raw").write_bytes(VOXELS.tobytes())
    return tmp_path


def header(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.mhd", META.format("ElementDataFile = scan.raw\n")),
        ("scan.mha", META.format("ElementDataFile = scan.raw\n")),
        ("scan.nhdr", NRRD.format("data file: scan.raw")),
        ("scan.nhdr", NRRD.format("datafile: scan.raw")),
        ("scan.nrrd", NRRD.format("data file: scan.raw")),
        ("SCAN.NHDR", NRRD.format("Data File: scan.raw")),
    ],
)
def test_voxels_in_a_file_beside_the_header_belong_to_the_scan(folder, name, text):
    path = header(folder, name, text)
    assert scan_files(path) == [path, folder / "scan.raw"]
    if name.islower():
        np.testing.assert_array_equal(read_scan(path)[0].numpy().T, VOXELS)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_a_scan_of_one_file_is_that_file(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    assert scan_files(path) == [path]


def test_a_folder_is_all_its_files_but_the_hidden_ones(folder):
    (folder / "a.dcm").touch()
    (folder / ".DS_Store").touch()
    assert scan_files(folder) == [folder / "a.dcm", folder / "scan.raw"]


@pytest.mark.parametrize(
    "field", ["LIST", "scan%02d.raw 1 3 1", "../scan.raw", "deeper/scan.raw", "/dev/zero", "none.raw", "", ".", ".."]
)
def test_voxels_that_are_not_one_file_beside_the_header_are_refused(folder, field):
    for name, text in (
        ("scan.mhd", META.format(f"ElementDataFile = {field}\n")),
        ("scan.nhdr", NRRD.format(f"data file: {field}")),
    ):
        path = header(folder, name, text)
        with pytest.raises(InputError, match=rf"{name}: its header names .* in the folder of the header"):
            read_scan(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.mhd", META.format("elementdatafile = scan.raw\nElementDataFile = other.raw\n")),
        ("scan.mhd", META.format("ElementDataFile: scan.raw\nElementDataFile = other.raw\n")),
        ("scan.mhd", META.format("Comment: a = b\nElementDataFile = scan.raw\n")),
        ("scan.mhd", META.format("NDims = 2\nElementDataFile = scan.raw\n")),
        ("scan.mhd", META.format("")),
        ("scan.nhdr", NRRD.format("data file: scan.raw\ndatafile: other.raw")),
        ("scan.nhdr", NRRD.format("Data File: other.raw\ndata file: scan.raw")),
    ],
)
def test_a_header_that_could_be_read_in_two_ways_is_refused(folder, name, text):
    (folder / "other.raw").write_bytes(bytes(VOXELS.nbytes))
    path = header(folder, name, text)
    with pytest.raises(InputError, match=rf"{name}: .*export the scan again"):
        read_scan(path)


def test_a_pair_of_header_and_image_is_refused(folder):
    for name in ("scan.hdr", "scan.img"):
        (folder / name).touch()
        with pytest.raises(InputError, match=rf"{name}: two files.*\.nii\.gz"):
            read_scan(folder / name)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "scan.nrrd"))
    (tmp_path / "scan.nrrd").chmod(0)
    if os.access(tmp_path / "scan.nrrd", os.R_OK):
        pytest.skip("root may read everything")
    assert segments_in(tmp_path / "scan.nrrd") == []
    with pytest.raises(InputError, match=r"scan\.nrrd: you have no permission to read it"):
        read_scan(tmp_path / "scan.nrrd")
