from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_transform, add_volume
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import intake_labels
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.scene.segments import _terminology
from UncertaintySegLib.server.replies import Label


@pytest.fixture
def scan(host, phantom_case):
    """The phantom's scan, on an oblique, flipped grid."""
    return CaseScene(host.scene).show_scan(phantom_case.name, phantom_case.scan)


def add_segmentation(scan, masks: dict[str, np.ndarray], name: str = "TotalSegmentator"):
    """Masks are `[K, J, I]` in the order of the scan's node."""
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    for segment, mask in masks.items():
        segment_id = segmentation.GetSegmentation().AddEmptySegment("", segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, scan)
    return segmentation


def label_in_node_order(phantom_case) -> np.ndarray:
    """The phantom's label in the order of its node: the file is left-handed, the node has its slices reversed."""
    return np.asarray(nib.load(phantom_case.label).dataobj).transpose(2, 1, 0)[::-1]


def by_name(node) -> dict[str, str]:
    return {part.name: part.id for part in intake_labels.parts(node)}


def test_a_segmentation_becomes_a_label_file_on_the_scans_own_grid(scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"liver": label == 1, "tumour": label == 2})
    ids = by_name(node)
    taken = intake_labels.write_label(node, {ids["liver"]: 1, ids["tumour"]: 2}, scan, tmp_path / "label.nii")
    assert not taken.resampled
    written, original = nib.load(tmp_path / "label.nii"), nib.load(phantom_case.label)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(original.dataobj))
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-3)


def test_several_segments_may_be_one_label(scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"left": label == 1, "right": label == 2})
    ids = by_name(node)
    intake_labels.write_label(node, dict.fromkeys(ids.values(), 1), scan, tmp_path / "label.nii")
    written = np.asarray(nib.load(tmp_path / "label.nii").dataobj)
    np.testing.assert_array_equal(written, np.asarray(nib.load(phantom_case.label).dataobj) > 0)


def test_segments_without_a_label_are_shown_and_not_written(host, scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"organ": label == 1, "stent": label == 2})
    taken = intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")
    assert set(np.unique(np.asarray(nib.load(tmp_path / "label.nii").dataobj))) == {0, 1}
    case = CaseScene(host.scene)
    case.show_scan(phantom_case.name, phantom_case.scan)
    segmentation = case.show_segmentation(tmp_path / "label.nii", phantom_case.labels, {})
    intake_labels.add_others(segmentation, taken.others)
    names = [part.name for part in intake_labels.parts(segmentation)]
    assert names == ["organ", "lesion", "stent"]
    assert case.write_label(tmp_path / "sent.nii.gz") == ["stent"]


def test_the_users_segmentation_stays_as_it_is(host, scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"organ": label == 1})
    count, parts = host.scene.GetNumberOfNodes(), intake_labels.parts(node)
    intake_labels.write_label(node, {parts[0].id: 2}, scan, tmp_path / "label.nii")
    assert host.scene.GetNumberOfNodes() == count
    assert intake_labels.parts(node) == parts


def test_a_label_on_another_grid_is_resampled_and_that_is_known(host, scan, tmp_path):
    """A ball drawn on a coarse, straight grid lies at the same place in the file of the oblique scan."""
    coarse = add_volume(np.diag([2.0, 2.0, 2.0, 1.0]), "coarse")
    center = scan_center(scan)
    size = 20
    origin = center - size  # half of it, times 2 mm
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = origin
    k, j, i = np.indices((size, size, size))
    ball = (i - 10) ** 2 + (j - 10) ** 2 + (k - 10) ** 2 < 36
    slicer.util.updateVolumeFromArray(coarse, ball.astype(np.int16))
    coarse.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node = add_segmentation(coarse, {"organ": ball})
    taken = intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")
    assert taken.resampled
    written = nib.load(tmp_path / "label.nii")
    inside = np.argwhere(np.asarray(written.dataobj) == 1)
    ras = nib.affines.apply_affine(written.affine, inside)
    np.testing.assert_allclose(ras.mean(axis=0), center, atol=0.6)
    assert np.linalg.norm(ras - center, axis=1).max() == pytest.approx(12, abs=2)


def scan_center(scan) -> np.ndarray:
    bounds = np.zeros(6)
    scan.GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)


def test_a_transform_on_the_segmentation_moves_what_is_written(scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"organ": label == 1})
    step = np.eye(4)
    step[:3, 3] = nib.load(phantom_case.scan).affine[:3, 0]  # one voxel along the first axis
    node.SetAndObserveTransformNodeID(add_transform(step).GetID())
    intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")
    moved = np.roll(np.asarray(nib.load(phantom_case.label).dataobj) == 1, 1, axis=0)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "label.nii").dataobj), moved)
    assert node.GetParentTransformNode() is not None


def test_a_closed_surface_is_filled(scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = add_segmentation(scan, {"organ": label > 0})
    contents = node.GetSegmentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    contents.CreateRepresentation(surface)
    contents.SetSourceRepresentationName(surface)
    contents.RemoveRepresentation(binary)
    intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")
    written = np.asarray(nib.load(tmp_path / "label.nii").dataobj) > 0
    truth = np.asarray(nib.load(phantom_case.label).dataobj) > 0
    assert 2 * (written & truth).sum() / (written.sum() + truth.sum()) > 0.93


def test_a_label_map_is_read_by_its_values_and_the_names_of_its_colours(host, scan, phantom_case, tmp_path):
    label = label_in_node_order(phantom_case)
    node = slicer.modules.volumes.logic().CreateAndAddLabelVolume(scan, "LiTS")
    slicer.util.updateVolumeFromArray(node, np.choose(label, [0, 3, 7]).astype(np.uint8))
    colors = host.scene.AddNewNodeByClass("vtkMRMLColorTableNode", "names")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(8)
    colors.SetColor(3, "liver", 1.0, 0.0, 0.0, 1.0)
    colors.SetColor(7, "tumour", 0.0, 1.0, 0.0, 1.0)
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    assert by_name(node) == {"liver": "3", "tumour": "7"}
    taken = intake_labels.write_label(node, {"3": 1, "7": 2}, scan, tmp_path / "label.nii")
    assert not taken.resampled
    written = np.asarray(nib.load(tmp_path / "label.nii").dataobj)
    np.testing.assert_array_equal(written, np.asarray(nib.load(phantom_case.label).dataobj))


def test_the_names_of_the_default_colours_are_none_of_structures(host, scan, phantom_case):
    node = slicer.modules.volumes.logic().CreateAndAddLabelVolume(scan, "by numbers")
    slicer.util.updateVolumeFromArray(node, np.choose(label_in_node_order(phantom_case), [0, 3, 7]).astype(np.uint8))
    node.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeLabels")  # as a file that is loaded has it
    assert node.GetDisplayNode().GetColorNode().GetColorName(3) == "Brain"  # which it would be taken for
    assert [(part.id, part.name, part.value) for part in intake_labels.parts(node)] == [
        ("3", "label 3", 3),
        ("7", "label 7", 7),
    ]


def test_parts_tell_names_and_codes(scan, phantom_case):
    node = add_segmentation(scan, {"heart": np.zeros((24, 44, 48)), "kidney": np.zeros((24, 44, 48))})
    labels = (Label(1, "heart", None, "80891009"), Label(2, "kidney", None, "64033007", "7771000"))
    for index, label in enumerate(labels):
        segment = node.GetSegmentation().GetNthSegment(index)
        segment.SetTag(segment.GetTerminologyEntryTagName(), _terminology(label))
    heart, kidney = intake_labels.parts(node)
    assert (heart.name, heart.code, heart.modifier, heart.label_id) == ("heart", "80891009", "", None)
    assert (kidney.name, kidney.code, kidney.modifier) == ("kidney", "64033007", "7771000")


def test_an_empty_segmentation_is_said(host, scan, tmp_path):
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    with pytest.raises(SceneError, match="nothing is empty"):
        intake_labels.parts(node)
    node = add_segmentation(scan, {"organ": np.zeros((24, 44, 48))}, "hollow")
    with pytest.raises(SceneError, match="hollow has no voxel within the scan"):
        intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")


def test_a_segmentation_of_another_place_is_said(host, scan, tmp_path):
    elsewhere = np.eye(4)
    elsewhere[:3, 3] = 900.0
    far = add_volume(elsewhere, "far")
    node = add_segmentation(far, {"organ": np.ones((5, 6, 7))}, "feet")
    with pytest.raises(SceneError, match="feet has no voxel within the scan"):
        intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")


def test_no_label_chosen_and_nodes_that_are_gone_are_said(host, scan, tmp_path):
    node = add_segmentation(scan, {"organ": np.ones((24, 44, 48))})
    with pytest.raises(SceneError, match="which label it is"):
        intake_labels.write_label(node, {}, scan, tmp_path / "label.nii")
    host.scene.RemoveNode(scan)
    with pytest.raises(SceneError, match="scan is no longer in the scene"):
        intake_labels.write_label(node, {by_name(node)["organ"]: 1}, scan, tmp_path / "label.nii")
    host.scene.RemoveNode(node)
    with pytest.raises(SceneError, match="Choose a segmentation"):
        intake_labels.parts(node)
