from __future__ import annotations

import numpy as np
import pytest
import slicer


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd"])
def test_volumes_go_to_a_file_and_back(desktop, ramp, tmp_path, name):
    assert slicer.util.saveNode(ramp, str(tmp_path / name))
    again = slicer.util.loadVolume(str(tmp_path / name))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(ramp))
    assert again.GetOrigin() == pytest.approx(ramp.GetOrigin())
    assert again.GetDisplayNode() is not None


def test_a_loaded_volume_is_shown(desktop, host, ramp, tmp_path):
    slicer.util.saveNode(ramp, str(tmp_path / "scan.nrrd"))
    volume = slicer.util.loadVolume(str(tmp_path / "scan.nrrd"))
    assert host.slice_view("Red").composite_node.GetBackgroundVolumeID() == volume.GetID()


def test_segmentations_go_to_a_file_and_back(desktop, host, ramp, tmp_path):
    segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment = segmentation.GetSegmentation().AddEmptySegment("organ", "organ")
    mask = np.zeros(slicer.util.arrayFromVolume(ramp).shape, np.uint8)
    mask[10:20, 10:20, 10:20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, ramp)
    assert slicer.util.saveNode(segmentation, str(tmp_path / "label.seg.nrrd"))
    again = slicer.util.loadSegmentation(str(tmp_path / "label.seg.nrrd"))
    assert again.GetSegmentation().GetSegment("organ").GetName() == "organ"
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(again, "organ", ramp), mask)


def test_a_file_that_is_not_there_leaves_no_node(desktop, host, tmp_path):
    before = host.scene.GetNumberOfNodes()
    with pytest.raises(RuntimeError, match=r"absent\.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "absent.nrrd"))
    assert host.scene.GetNumberOfNodes() == before
