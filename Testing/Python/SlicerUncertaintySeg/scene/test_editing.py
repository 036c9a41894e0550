"""The Segment Editor's settings, and the segment that it is confined to."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from scipy import ndimage

from UncertaintySegLib.scene import editing


@pytest.fixture
def mask(shown_case) -> np.ndarray:
    mask = np.zeros(shown_case.label_ids().shape, bool)
    mask[4:9, 10:20, 15:25] = True
    return mask


def test_confining_hides_the_segment_and_leaves_the_label(shown_case, mask):
    before = shown_case.label_ids()
    editing.confine(shown_case.segmentation, shown_case.scan, mask, "Uncertain")
    node = editing.editor_node(shown_case.scene)
    assert node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
    assert node.GetMaskSegmentID() == editing.SEGMENT
    assert not shown_case.segmentation.GetDisplayNode().GetSegmentVisibility(editing.SEGMENT)
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(shown_case.segmentation, editing.SEGMENT, shown_case.scan)
    np.testing.assert_array_equal(drawn.astype(bool), mask)
    np.testing.assert_array_equal(shown_case.label_ids(), before)
    assert not shown_case.edited


def test_freeing_takes_the_segment_away_but_not_a_mask_that_somebody_chose(shown_case, mask):
    editing.confine(shown_case.segmentation, shown_case.scan, mask, "Uncertain")
    editing.free(shown_case.segmentation)
    node = editing.editor_node(shown_case.scene)
    assert node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    assert shown_case.segmentation.GetSegmentation().GetSegment(editing.SEGMENT) is None
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    editing.free(shown_case.segmentation)
    assert node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments


def test_the_settings_are_there_again_after_the_scene_was_closed(host):
    editing.set_up(host.scene)
    host.scene.Clear(False)
    editing.set_up(host.scene)
    node = editing.editor_node(host.scene)
    assert node.GetScene() is host.scene
    assert node.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments
    assert not node.GetSaveWithScene()


def test_a_mask_grows_by_the_voxels_that_touch_it():
    mask = np.random.default_rng(0).random((9, 10, 11)) > 0.97
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    np.testing.assert_array_equal(editing.grown(mask), ndimage.binary_dilation(mask, np.ones((3, 3, 3))))
