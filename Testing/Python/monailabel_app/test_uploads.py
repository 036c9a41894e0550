"""Uploads: one volume of a known kind, its size known before it is read, and never another file of the server."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.api.uploads import MAX_VOXELS, check_slices, check_volume
from monailabel_app.errors import TooLargeError
from uncertaintyseg.errors import InputError

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def nifti(kind: type = nib.Nifti1Image, **fields: object) -> bytes:
    """A small NIfTI file, with fields of its header changed afterwards."""
    image = kind(ARRAY, np.eye(4))
    data = bytearray(image.to_bytes())
    header = image.header.copy()
    for name, value in fields.items():
        header[name] = value
    data[: header.sizeof_hdr] = header.binaryblock
    return bytes(data)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".NII.GZ"])
def test_volumes_of_one_file_are_taken(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    written = tmp_path / f"written{suffix.lower()}"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(written), useCompression=True)
    written.rename(path)
    check_volume(path)


def test_second_nifti_is_taken(tmp_path):
    (tmp_path / "scan.nii").write_bytes(nifti(nib.Nifti2Image))
    check_volume(tmp_path / "scan.nii")


@pytest.mark.parametrize(
    "name", ["scan.txt", "scan.zip", "scan.pt", "scan.nhdr", "scan.mhd", "scan", "scan.npy", "scan.dcm"]
)
def test_other_kinds_of_file_are_refused_whatever_they_hold(tmp_path, name):
    (tmp_path / name).write_bytes(nifti())
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        check_volume(tmp_path / name)


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret.raw", "secret.raw"])
@pytest.mark.parametrize("field", ["data file: {}", "datafile:{}", "DATA FILE: {}"])
def test_promise_3_an_nrrd_header_cannot_name_a_file_of_the_server(tmp_path, field, target):
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n{field.format(target)}\n\n"
    (tmp_path / "scan.nrrd").write_bytes(head.encode() + bytes(8))
    with pytest.raises(InputError, match="another file"):
        check_volume(tmp_path / "scan.nrrd")


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret.raw", "LIST", "", "LOCAL.raw"])
def test_promise_3_a_metaimage_header_cannot_name_a_file_of_the_server(tmp_path, target):
    head = f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {target}\n"
    (tmp_path / "scan.mha").write_bytes(head.encode() + bytes(8))
    with pytest.raises(InputError, match="another file"):
        check_volume(tmp_path / "scan.mha")


def test_a_header_without_an_end_is_refused(tmp_path):
    (tmp_path / "scan.nrrd").write_bytes(b"NRRD0004\n" + b"# x\n" * 100_000 + b"data file: /etc/passwd\n\n")
    with pytest.raises(InputError, match="another file"):
        check_volume(tmp_path / "scan.nrrd")


def bomb(path: Path, megabytes: int) -> None:
    """A NIfTI file of a few kB that says it holds much, and does."""
    side = round((megabytes * 1e6) ** (1 / 3))
    with gzip.open(path, "wb", compresslevel=9) as file:
        header = nib.Nifti1Header()
        header.set_data_shape((side, side, side))
        header.set_data_dtype(np.uint8)
        header["vox_offset"] = 352
        file.write(header.binaryblock + bytes(4))
        for _ in range(megabytes):
            file.write(bytes(1_000_000))


def test_a_small_file_that_expands_hugely_is_refused_by_its_header(tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(nifti(dim=[3, 1024, 1024, 1024, 1, 1, 1, 1])))
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="1024 x 1024 x 1024"):
        check_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_only_the_header_is_expanded(tmp_path):
    path = tmp_path / "scan.nii.gz"
    bomb(path, 50)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    check_volume(path)  # 50 MB of voxels are fine; they are not read here
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", gzip.compress(b"not an image"), gzip.compress(nifti())[:60]],
    ids=["empty", "text", "zipped text", "cut short"],  # workers must agree on names, and gzip writes the time
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_file_that_is_no_image_or_cut_short_is_named(tmp_path, suffix, content):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"scan{suffix}"):
        check_volume(path)


@pytest.mark.parametrize("offset", [2e9, -1, float("nan"), float("inf"), 3e6])
def test_a_header_that_hides_bytes_before_the_voxels_is_refused(tmp_path, offset):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(nifti(vox_offset=offset)))
    with pytest.raises(InputError, match="before the voxels"):
        check_volume(path)


NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2048 2048 2048\nencoding: gzip\n\n"
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 2048 2048 2048\nElementType = MET_CHAR\nElementDataFile = LOCAL\n"


@pytest.mark.parametrize(("suffix", "head"), [(".nrrd", NRRD), (".mha", MHA)])
def test_other_formats_are_refused_by_their_header_too(tmp_path, suffix, head):
    assert MAX_VOXELS < 2048**3
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(head.encode() + gzip.compress(bytes(1000)))
    with pytest.raises(TooLargeError, match="2048 x 2048 x 2048"):
        check_volume(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha"]),
    place=st.integers(0, 400),
    noise=st.binary(max_size=60),
    packed=st.booleans(),
)
def test_no_damaged_header_raises_anything_else(tmp_path, suffix, place, noise, packed):
    path = tmp_path / f"scan{suffix}"
    if suffix in (".nrrd", ".mha"):
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
        data = path.read_bytes()
    else:
        data = nifti()
    data = data[:place] + noise + data[place + len(noise) :]
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" and packed else data)
    try:
        check_volume(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - it may as well raise nothing


def test_a_series_is_dicom_only(tmp_path):
    good = tmp_path / "IM0001"
    good.write_bytes(bytes(128) + b"DICM" + bytes(10))
    check_slices([good])
    disguised = tmp_path / "scan.mha"  # a file can be both
    disguised.write_bytes(good.read_bytes())
    other = tmp_path / "IM0002"
    other.write_bytes(b"no DICOM")
    for path in (disguised, other):
        with pytest.raises(InputError, match="DICOM"):
            check_slices([good, path])
