"""Scans: what is read, what is refused and how it says so."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.data.small_volume import AFFINE, itk_ras, oblique, refused, scan_array
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.time_axis import check_dimensions
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError


@pytest.fixture
def scan_file(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, scan_array(), AFFINE)
    return path


# Reading


@settings(max_examples=60, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    flip=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_itk_sees_every_voxel_where_we_put_it(tmp_path_factory, degrees, spacing, origin, flip):
    path = tmp_path_factory.mktemp("itk") / "v.nii"
    affine = oblique(degrees, spacing, origin, flip)
    write_volume(path, scan_array(), affine)
    image = sitk.ReadImage(str(path))
    ours = read_scan(path).affine.numpy()
    for index in [(0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)]:
        at = (affine @ [*index, 1])[:3]
        np.testing.assert_allclose(itk_ras(image, index), at, atol=2e-3)
        np.testing.assert_allclose((ours @ [*index, 1])[:3], at, atol=1e-3)
    sitk.WriteImage(image, str(path.with_suffix(".nrrd")))
    again = read_scan(path.with_suffix(".nrrd"))
    np.testing.assert_allclose(again.affine, affine, atol=2e-3)
    np.testing.assert_array_equal(again[0], scan_array())


def test_a_scan_is_one_channel_of_float32_with_its_affine_and_name(scan_file):
    scan = read_scan(scan_file)
    assert scan.shape == (1, 6, 5, 4)
    assert scan.dtype == torch.float32
    assert scan.affine.dtype == torch.float64
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-5)
    assert scan.meta["filename_or_obj"] == str(scan_file)
    np.testing.assert_array_equal(scan[0], scan_array())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".NII.GZ"])
def test_every_format_gives_the_same_voxels_at_the_same_place(tmp_path, scan_file, suffix):
    path = tmp_path / f"copy{suffix}"
    if suffix == ".NII.GZ":
        path.write_bytes(scan_file.read_bytes())
    else:
        sitk.WriteImage(sitk.ReadImage(str(scan_file)), str(path))
    scan = read_scan(path)
    np.testing.assert_array_equal(scan[0], scan_array())
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)


def test_scaled_integers_are_read_as_the_values_they_stand_for(tmp_path):
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "s.nii")
    assert read_scan(tmp_path / "s.nii")[0].flatten().tolist() == [2.0 * i - 1024 for i in range(60)]


def test_a_trailing_axis_of_one_is_dropped(tmp_path):
    nib.save(nib.Nifti1Image(scan_array((6, 5, 4, 1)), AFFINE), tmp_path / "s.nii.gz")
    assert read_scan(tmp_path / "s.nii.gz").shape == (1, 6, 5, 4)


def test_a_nifti_without_geometry_lies_where_itk_and_slicer_show_it(tmp_path):
    image = nib.Nifti1Image(scan_array(), AFFINE)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    image.header["pixdim"][1:4] = 1, 2, 3
    nib.save(image, tmp_path / "s.nii")
    itk = sitk.ReadImage(str(tmp_path / "s.nii"))
    affine = read_scan(tmp_path / "s.nii").affine.numpy()
    for index in [(0, 0, 0), (5, 4, 3)]:
        np.testing.assert_allclose((affine @ [*index, 1])[:3], itk_ras(itk, index), atol=1e-5)


def test_two_forms_that_disagree_put_the_scan_where_itk_puts_it(tmp_path):
    image = nib.Nifti1Image(scan_array(), AFFINE)
    image.set_sform(AFFINE, 2)
    image.set_qform(oblique((0, 0, 20), (1, 1, 1), (30, -12, 7)), 1)
    nib.save(image, tmp_path / "s.nii")
    itk = sitk.ReadImage(str(tmp_path / "s.nii"))
    affine = read_scan(tmp_path / "s.nii").affine.numpy()
    for index in [(0, 0, 0), (5, 4, 3)]:
        np.testing.assert_allclose((affine @ [*index, 1])[:3], itk_ras(itk, index), atol=1e-5)
    np.testing.assert_allclose(affine[:3, 3], (30, -12, 7), atol=1e-5)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_metres_and_microns_become_millimetres(tmp_path, unit, factor):
    image = nib.Nifti1Image(scan_array(), np.diag([factor, factor, factor, 1]) @ AFFINE)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "s.nii.gz")
    np.testing.assert_allclose(read_scan(tmp_path / "s.nii.gz").affine, AFFINE, atol=1e-4)


def test_a_quaternion_that_rounding_made_too_long_is_read(tmp_path):
    image = nib.Nifti1Image(scan_array(), AFFINE)
    image.set_sform(None, 0)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "s.nii")
    raw = bytearray((tmp_path / "s.nii").read_bytes())
    raw[256:268] = np.array([0.0, 1.0000004, 0.0], dtype="<f4").tobytes()  # quatern_b, c, d
    (tmp_path / "s.nii").write_bytes(raw)
    np.testing.assert_allclose(read_scan(tmp_path / "s.nii").affine, AFFINE @ np.diag([-1, 1, -1, 1]), atol=1e-5)


# Refusing


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "none.nii.gz", "no such file")


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, 0.99])
def test_a_truncated_file_is_named_in_the_error(scan_file, keep):
    data = scan_file.read_bytes()
    scan_file.write_bytes(data[: keep if keep >= 1 else int(keep * len(data))])
    refused(scan_file, "cut short")


def test_a_damaged_gzip_stream_is_named_in_the_error(scan_file):
    data = bytearray(scan_file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    scan_file.write_bytes(data)
    refused(scan_file, "export it again")


def test_a_wrong_checksum_at_the_end_of_a_large_file_is_found(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, np.random.default_rng(0).integers(0, 9, (64, 64, 64)), AFFINE)
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    refused(path, "export it again")


def test_a_header_that_promises_more_voxels_than_the_file_can_hold_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    header = nib.Nifti1Header()
    header.set_data_shape((3000, 3000, 3000))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4096)))
    with pytest.raises(InputError, match=r"bomb.nii.gz: its header promises 108,000 MB"):
        read_scan(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_truncated_itk_file_is_named_in_the_error(tmp_path, scan_file, suffix):
    path = tmp_path / f"cut{suffix}"
    sitk.WriteImage(sitk.ReadImage(str(scan_file)), str(path))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut short")


@pytest.mark.parametrize("name", ["notes.txt", "notes.nii", "notes.nii.gz", "notes.nrrd", "notes"])
def test_a_file_that_is_no_image_is_refused_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_text("not an image " * 100)
    refused(tmp_path / name, "export it again")


def test_several_volumes_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(scan_array((6, 5, 4, 3)), AFFINE), tmp_path / "s.nii.gz")
    refused(tmp_path / "s.nii.gz", "6 x 5 x 4 x 3", "one channel")


def test_several_channels_are_refused(tmp_path):
    vector = sitk.GetImageFromArray(scan_array((4, 5, 6, 3)), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "s.nrrd"))
    refused(tmp_path / "s.nrrd", "3 channels")


def test_colours_are_refused(tmp_path):
    rgb = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, AFFINE), tmp_path / "s.nii.gz")
    refused(tmp_path / "s.nii.gz", "one channel")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_a_flat_image_is_one_slice_where_itk_has_it(tmp_path, suffix):
    image = sitk.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    image.SetSpacing((0.5, 2.0))
    sitk.WriteImage(image, str(tmp_path / f"s{suffix}"))
    scan = read_scan(tmp_path / f"s{suffix}")
    assert scan.shape == (1, 5, 4, 1)
    np.testing.assert_array_equal(scan[0, :, :, 0].numpy(), np.arange(20).reshape(4, 5).T)
    np.testing.assert_allclose(scan.affine.numpy()[:2, :2], np.diag([-0.5, -2.0]))


@pytest.mark.parametrize("shape", [(1, 5, 4), (6, 1, 4), (6, 5, 1)])
def test_one_slice_is_read_and_refused_by_a_model_of_volumes(tmp_path, shape):
    write_volume(tmp_path / "s.nii.gz", scan_array(shape), AFFINE)
    scan = read_scan(tmp_path / "s.nii.gz")
    assert scan.shape == (1, *shape)
    with pytest.raises(InputError, match=r"s\.nii\.gz: one slice thick .* 3D"):
        check_dimensions(scan, 3)


def test_an_empty_volume_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((6, 0, 4), np.float32), AFFINE), tmp_path / "s.nii.gz")
    refused(tmp_path / "s.nii.gz", "empty")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted_and_refused(tmp_path, bad):
    array = scan_array()
    array[0, 0, :2] = bad
    write_volume(tmp_path / "s.nii.gz", array, AFFINE)
    refused(tmp_path / "s.nii.gz", "2 voxels", "NaN")


def test_a_constant_image_is_refused(tmp_path):
    write_volume(tmp_path / "s.nii.gz", np.full((6, 5, 4), -1024.0), AFFINE)
    refused(tmp_path / "s.nii.gz", "-1024", "constant")


@pytest.mark.parametrize(
    "columns",
    [np.diag([1, 1, 0]), np.zeros((3, 3)), np.ones((3, 3)), np.diag([np.nan, 1, 1]), np.diag([1, np.inf, 1])],
    ids=["flat", "zero", "parallel", "nan", "infinite"],
)
def test_a_singular_affine_is_refused(tmp_path, columns):
    image = nib.Nifti1Image(scan_array(), AFFINE)
    for row, values in zip(("srow_x", "srow_y", "srow_z"), columns, strict=True):
        image.header[row][:3] = values
    # past nibabel's setters, as a broken converter would leave it
    data = image.header.binaryblock + b"\0" * 4 + scan_array().tobytes(order="F")
    (tmp_path / "s.nii").write_bytes(data)
    refused(tmp_path / "s.nii", "affine")


@pytest.mark.parametrize("degrees", [0.5, 2, 20])
def test_a_grid_that_is_not_rectangular_is_refused_in_every_format(tmp_path, degrees):
    image, t = sitk.GetImageFromArray(scan_array()), np.deg2rad(degrees)
    image.SetDirection([1, np.sin(t), 0, 0, np.cos(t), 0, 0, 0, 1])
    for name in ("scan.nrrd", "scan.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        refused(tmp_path / name, f"at {90 - degrees:g} degrees", "rectangular")


# DICOM


def dicom_series(folder, positions, series="1.2.826.0.1.3680043.2.1125.1"):
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for i, z in enumerate(positions):
        image = sitk.GetImageFromArray((scan_array((1, 8, 9)) + 1000 + 10 * i).astype(np.int16))
        image.SetSpacing((0.7, 0.9, 2.0))
        values = {
            "0008|0060": "CT",
            "0020|000e": series,
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0008|0018": f"{series}.{i}",
            "0020|0032": f"10\\20\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(i),
        }
        for tag, value in values.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{series[-1]}_{i}.dcm"))
        writer.Execute(image)


def test_a_dicom_folder_is_a_scan(tmp_path):
    dicom_series(tmp_path / "ct", [5, 7, 9, 11])
    scan = read_scan(tmp_path / "ct")
    assert scan.shape == (1, 9, 8, 4)
    np.testing.assert_allclose(
        scan.affine, [[-0.7, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]], atol=1e-6
    )


def test_a_series_with_a_missing_slice_is_refused(tmp_path):
    dicom_series(tmp_path / "ct", [5, 7, 11, 13])
    refused(tmp_path / "ct", "2 to 4 mm", "missing")


def test_a_folder_with_two_series_is_refused(tmp_path):
    dicom_series(tmp_path / "ct", [5, 7, 9])
    dicom_series(tmp_path / "ct", [5, 7, 9], series="1.2.826.0.1.3680043.2.1125.2")
    refused(tmp_path / "ct", "2 DICOM series")


def test_a_folder_without_slices_is_refused(tmp_path):
    refused(tmp_path, "no DICOM series")


def test_a_single_dicom_slice_points_to_the_folder(tmp_path):
    dicom_series(tmp_path / "ct", [5])
    refused(tmp_path / "ct" / "1_0.dcm", "folder of the series", reader=lambda p: check_dimensions(read_scan(p), 3))
