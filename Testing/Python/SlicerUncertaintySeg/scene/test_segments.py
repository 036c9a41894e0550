"""The label in the segments as one array: with layers that overlap, reach beyond the scan, or have their own grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import masks, segments


def segment_id(case, name: str) -> str:
    return case.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)


def in_scene_order(case, label: np.ndarray) -> np.ndarray:
    ids = label.transpose(2, 1, 0)
    return ids[::-1] if case.scan.GetAttribute("UncertaintySeg.LeftHandedFile") else ids


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case", "abdomen_case"])
def test_the_ids_are_those_of_the_file(request, host, show, name):
    files = request.getfixturevalue(name)
    case = show(host, files)
    expected = in_scene_order(case, np.asarray(nib.load(files.label).dataobj))
    np.testing.assert_array_equal(case.label_ids(), expected)


def test_drawn_ids_are_read_again_and_written_to_the_file(shown_case, tmp_path):
    ids = np.roll(shown_case.label_ids(), 2, axis=1)
    shown_case.draw(ids)
    np.testing.assert_array_equal(shown_case.label_ids(), ids)
    shown_case.write_label(tmp_path / "label.nii")
    file = np.asarray(nib.load(tmp_path / "label.nii").dataobj)
    np.testing.assert_array_equal(in_scene_order(shown_case, file), ids)


def test_where_segments_overlap_the_later_one_counts(shown_case):
    before = shown_case.label_ids()
    mask = (before > 0).astype(np.uint8)  # a lesion all over the organ, in a layer of its own
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        mask, shown_case.segmentation, segment_id(shown_case, "lesion"), shown_case.scan
    )
    assert shown_case.segmentation.GetSegmentation().GetNumberOfLayers() == 2
    np.testing.assert_array_equal(shown_case.label_ids(), 2 * mask)


def test_what_reaches_beyond_the_scan_is_cut_off(shown_case):
    before, segmentation = shown_case.label_ids(), shown_case.segmentation
    wide = slicer.vtkOrientedImageData()
    grid = masks.new_segment("grid", (1, 1, 1), before > 0, shown_case.scan)
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    wide.DeepCopy(grid.GetRepresentation(binary))
    nx, ny, nz = shown_case.scan.GetImageData().GetDimensions()
    wide.SetExtent(-3, nx + 2, -3, ny + 2, -3, nz + 2)
    wide.AllocateScalars(3, 1)
    wide.GetPointData().GetScalars().Fill(1)
    for name in ("organ", "lesion"):
        segment = segmentation.GetSegmentation().GetSegment(segment_id(shown_case, name))
        segment.SetLabelValue(1 if name == "organ" else 2)
        segment.AddRepresentation(binary, wide)
    np.testing.assert_array_equal(shown_case.label_ids(), np.ones_like(before))


def test_segments_on_a_grid_of_their_own_are_resampled(shown_case, phantom_case):
    before = shown_case.label_ids()
    transform = shown_case.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    shown_case.segmentation.SetAndObserveTransformNodeID(transform.GetID())  # another space, though the same place
    np.testing.assert_array_equal(shown_case.label_ids(), before)


def test_a_case_without_any_voxel_drawn_has_an_empty_label(shown_case, tmp_path):
    shown_case.draw(np.zeros_like(shown_case.label_ids()))
    assert not shown_case.label_ids().any()
    shown_case.write_label(tmp_path / "label.nii")
    assert not np.asarray(nib.load(tmp_path / "label.nii").dataobj).any()


def test_helpers_are_no_segments_that_were_left_out(shown_case):
    contents = shown_case.segmentation.GetSegmentation()
    contents.AddEmptySegment("", "stent")
    contents.GetSegment(contents.AddEmptySegment("", "Uncertain")).SetTag(segments.HELPER, "1")
    assert shown_case.unnamed_segments() == ["stent"]
