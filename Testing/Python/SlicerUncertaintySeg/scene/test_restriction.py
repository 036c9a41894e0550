from __future__ import annotations

import numpy as np
import pytest
import slicer
from scipy import ndimage

from UncertaintySegLib.scene import masks, restriction

SPACING = (2.5, 1.25, 1.0)


def ball(shape=(24, 44, 48), center=(11, 20, 24), radius=6.0) -> np.ndarray:
    offsets = np.moveaxis(np.indices(shape), 0, -1) - center
    return np.linalg.norm(offsets * SPACING, axis=-1) < radius


@pytest.mark.parametrize("reach", [1.5, 4.0, 9.3])
def test_places_are_those_of_the_exact_distance(reach):
    structure = ball()
    to_it = ndimage.distance_transform_edt(~structure, sampling=SPACING)
    from_outside = ndimage.distance_transform_edt(structure, sampling=SPACING)
    near = restriction.place(structure, SPACING, restriction.NEAR, reach)
    border = restriction.place(structure, SPACING, restriction.BORDER, reach)
    np.testing.assert_array_equal(near, to_it <= reach)
    np.testing.assert_array_equal(border, (to_it <= reach) & (from_outside <= reach))
    assert restriction.place(structure, SPACING, restriction.INSIDE, reach) is structure


def test_a_structure_at_the_edge_and_an_empty_one_have_their_places():
    corner = np.zeros((24, 44, 48), bool)
    corner[0, 0, 0] = True
    near = restriction.place(corner, SPACING, restriction.NEAR, 3.0)
    np.testing.assert_array_equal(near, ndimage.distance_transform_edt(~corner, sampling=SPACING) <= 3.0)
    nothing = np.zeros_like(corner)
    assert not restriction.place(nothing, SPACING, restriction.BORDER, 3.0).any()


def test_a_structures_mask_is_that_of_slicers_own_export_and_a_removed_one_has_no_segment(shown_case):
    segmentation = shown_case.segmentation
    for label_id in (1, 2):
        segment_id = masks.segment_of(segmentation, label_id)
        expected = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, shown_case.scan)
        found = masks.structure_mask(segmentation, label_id, shown_case.scan)
        np.testing.assert_array_equal(found, expected.astype(bool))
    segmentation.GetSegmentation().RemoveSegment(masks.segment_of(segmentation, 2))
    assert masks.segment_of(segmentation, 2) is None
    assert not masks.structure_mask(segmentation, 2, shown_case.scan).any()


def test_a_new_segment_has_the_masks_voxels(shown_case):
    mask = ball()
    segmentation = shown_case.segmentation
    segmentation.GetSegmentation().AddSegment(masks.new_segment("x", (1, 0, 0), mask, shown_case.scan), "x")
    exported = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "x", shown_case.scan)
    np.testing.assert_array_equal(exported.astype(bool), mask)


def test_a_restricted_map_shows_nothing_elsewhere_and_the_map_keeps_its_voxels(host, shown_case, phantom_case):
    view = host.slice_view("Red")
    shown_case.show_map("predictive_entropy")
    whole = slicer.util.arrayFromVolume(shown_case.maps["predictive_entropy"]).copy()
    lesion = masks.structure_mask(shown_case.segmentation, 2, shown_case.scan)
    shown_case.set_threshold(0.2)
    shown_case.restrict(lesion)
    drawn = host.scene.GetNodeByID(view.composite_node.GetForegroundVolumeID())
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(drawn), np.where(lesion, whole, 0))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(shown_case.maps["predictive_entropy"]), whole)
    assert drawn.GetScalarVolumeDisplayNode().GetLowerThreshold() == pytest.approx(0.2)
    shown_case.set_threshold(0.31)
    assert drawn.GetScalarVolumeDisplayNode().GetLowerThreshold() == pytest.approx(0.31)

    shown_case.restrict(None)
    assert view.composite_node.GetForegroundVolumeID() == shown_case.maps["predictive_entropy"].GetID()
    assert shown_case.threshold("predictive_entropy") == pytest.approx(0.31)


def test_another_map_and_a_later_result_stay_in_the_place(host, shown_case, phantom_case):
    view = host.slice_view("Red")
    place = np.zeros(slicer.util.arrayFromVolume(shown_case.scan).shape, bool)
    place[10:14] = True
    shown_case.restrict(place)
    shown_case.add_map("variance", phantom_case.risk, phantom_case.info, {})
    shown_case.show_map("variance")
    drawn = host.scene.GetNodeByID(view.composite_node.GetForegroundVolumeID())
    values = slicer.util.arrayFromVolume(drawn)
    assert values[10:14].any()
    assert not values[:10].any()
    shown_case.clear()
    assert view.composite_node.GetForegroundVolumeID() is None
