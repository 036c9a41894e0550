"""Labels: which fit their scan, and what a label on another grid is told. Real ones, with their scans."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from Testing.Python.uncertaintyseg.data.small_volume import AFFINE, itk_ras, oblique, refused, scan_array
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.writing import write_volume


def test_a_label_is_int64_and_may_be_all_background(tmp_path):
    write_volume(tmp_path / "l.nii.gz", np.zeros((6, 5, 4), bool), AFFINE)
    label = read_label(tmp_path / "l.nii.gz", {1, 2})
    assert label.dtype == torch.int64
    assert label.shape == (1, 6, 5, 4)


def test_an_unknown_class_id_is_named(tmp_path):
    write_volume(tmp_path / "l.nii.gz", np.arange(120).reshape(6, 5, 4) % 5, AFFINE)
    refused(tmp_path / "l.nii.gz", "unknown class id 3, 4;", "0, 1, 2", reader=read_label, known_ids={1, 2})
    assert read_label(tmp_path / "l.nii.gz").max() == 4


@pytest.mark.parametrize("bad", [0.5, -1, np.nan, 1e6])
def test_values_that_are_no_class_ids_are_refused(tmp_path, bad):
    array = np.zeros((6, 5, 4), np.float32)
    array[0, 0, 0] = bad
    write_volume(tmp_path / "l.nii.gz", array, AFFINE)
    refused(tmp_path / "l.nii.gz", "whole numbers", reader=read_label)


ORDERS = [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, 1)), ((1, 0, 2), (-1, -1, -1))]


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
@pytest.mark.parametrize(
    ("affine", "shape", "differs"),
    [
        (oblique((0, 0, 3), (1, 1, 2), (0, 0, 0)), (6, 5, 4), "turned by 3 degrees."),
        (oblique((2, 0, 0), (1, 1, 2), (0, 0, 0)), (6, 5, 4), "turned by 2 degrees."),
        (oblique((0, 0, 0), (1, 1, 1), (0, 0, 0)), (6, 5, 4), "spacing 1 x 1 x 1 mm where the scan has 1 x 1 x 2."),
        (
            oblique((0, 0, 0), (1, 1, 2), (3, 0, 4.5)),
            (6, 5, 4),
            "origin (3, 0, 4.5) mm, 5.41 mm from that of the scan (0, 0, 0).",
        ),
        (oblique((0, 0, 0), (1, 1, 2), (0, 0, 0)), (6, 5, 3), "6 x 5 x 3 voxels where the scan has 6 x 5 x 4."),
        (
            oblique((0, 0, 10), (2, 1, 2), (0, 0, 0)),
            (3, 5, 4),
            "turned by 10 degrees, spacing 2 x 1 x 2 mm where the scan has 1 x 1 x 2, 3 x 5 x 4 voxels where the scan",
        ),
    ],
)
def test_a_label_on_another_grid_is_refused_with_what_differs(tmp_path, affine, shape, differs, axes, signs):
    write_volume(tmp_path / "scan.nii", scan_array(), oblique((0, 0, 0), (1, 1, 2), (0, 0, 0)))
    label = nib.Nifti1Image(np.zeros(shape, np.uint8), affine, dtype=np.uint8)
    label = label.as_reoriented(np.stack([axes, signs], axis=1))  # whatever the order and direction of its axes
    write_volume(tmp_path / "label.nii", label.get_fdata().astype(np.uint8), label.affine)
    message = refused(tmp_path / "label.nii", reader=read_label, like=read_scan(tmp_path / "scan.nii"))
    assert f"scan.nii: {differs}" in message
    assert message.endswith(". Resample the label onto the scan.")


def test_direction_cosines_of_few_digits_are_squared_up(tmp_path):
    image = sitk.GetImageFromArray(scan_array())
    image.SetDirection([1, 0.0006, 0, 0, 1, 0, 0, 0, 1])
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    scan = read_scan(tmp_path / "scan.mha")
    np.testing.assert_allclose(scan.affine[:3, :3], [[-1, -0.0003, 0], [0.0003, -1, 0], [0, 0, 1]], atol=1e-6)
    write_volume(tmp_path / "label.nii.gz", np.zeros((4, 5, 6), np.uint8), scan.affine)
    read_label(tmp_path / "label.nii.gz", like=scan)


def test_a_label_stored_along_other_axes_is_turned_onto_its_scan(tmp_path):
    write_volume(tmp_path / "scan.nii.gz", scan_array(), AFFINE)
    scan, drawn = read_scan(tmp_path / "scan.nii.gz"), (scan_array() > 45).astype(np.uint8)
    image = nib.as_closest_canonical(nib.Nifti1Image(drawn, AFFINE))
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "l.nii.gz")
    assert turned.shape != drawn.shape
    label = read_label(tmp_path / "l.nii.gz", {1}, like=scan)
    np.testing.assert_array_equal(label[0], drawn)
    assert torch.equal(label.affine, scan.affine)


# Real scans

totalsegmentator = find_real_data("totalsegmentator_examples")
spine = find_real_data("sct_testing_data")


@pytest.mark.skipif(totalsegmentator is None, reason="no TotalSegmentator examples beside the checkout")
@pytest.mark.parametrize(
    ("image", "label", "shape"),
    [
        ("example_ct_dicom", "example_seg_dicom", (512, 512, 20)),
        ("example_mr_sm.nii.gz", "example_seg_mr", (117, 91, 20)),
        ("example_ct_sm.nii.gz", "example_seg", (122, 101, 30)),
    ],
)
def test_real_scans_and_their_labels_share_a_grid(image, label, shape):
    scan = read_scan(totalsegmentator / "images" / image)
    drawn = read_label(totalsegmentator / "labels" / f"{label}.nii.gz", range(1, 118), like=scan)
    assert scan.shape[1:] == drawn.shape[1:] == shape
    if "ct" in image:
        liver = scan[drawn == 5]
        assert liver.numel() == 0 or 0 < float(liver.median()) < 200


@pytest.mark.skipif(spine is None, reason="no spinal cord scans beside the checkout")
@pytest.mark.parametrize("name", ["t1w", "t2", "t2s", "t2s_uncropped"])
def test_spinal_cord_scans_keep_their_axes_and_itk_agrees_where_they_are(name):
    path = spine / "images" / f"{name}.nii.gz"
    scan, image = read_scan(path), sitk.ReadImage(str(path))
    assert scan.shape[1:] == image.GetSize()
    for index in [(0, 0, 0), tuple(n - 1 for n in scan.shape[1:])]:
        np.testing.assert_allclose((scan.affine.numpy() @ [*index, 1])[:3], itk_ras(image, index), atol=0.05)
    label = (
        "t2s_uncropped_gmseg_manual"
        if name == "t2s_uncropped"
        else f"{name}_{'gmseg_' if name == 't2s' else 'seg-'}manual"
    )
    assert read_label(spine / "labels" / f"{label}.nii.gz", {1}, like=scan).sum() > 50
