from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer
import vtk

from Testing.Python.SlicerUncertaintySeg.conftest import oblique_affine
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import intake, nodes
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import Label


def add_volume(ijk_to_ras: np.ndarray | None = None, name: str = "CT"):
    voxels = np.random.default_rng(1).integers(-900, 900, (5, 6, 7)).astype(np.int16)
    volume = slicer.util.addVolumeFromArray(voxels, nodeClassName="vtkMRMLScalarVolumeNode", name=name)
    volume.CreateDefaultDisplayNodes()
    if ijk_to_ras is not None:
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return volume


def add_transform(matrix: np.ndarray, name: str = "shift"):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return transform


def geometry(volume) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_a_plain_volume_can_be_used(host):
    assert intake.check_volume(add_volume()) is None


def test_nothing_chosen_and_a_deleted_volume_are_said(host):
    volume = add_volume()
    host.scene.RemoveNode(volume)
    for missing in (None, volume):
        with pytest.raises(SceneError, match="Choose a volume"):
            intake.check_volume(missing)


def test_a_volume_without_voxels_is_refused(host):
    empty = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(SceneError, match="empty has no voxels"):
        intake.check_volume(empty)


def test_a_vector_volume_is_refused(host):
    voxels = np.zeros((3, 4, 5, 3), np.uint8)
    vector = slicer.util.addVolumeFromArray(voxels, nodeClassName="vtkMRMLVectorVolumeNode", name="photo")
    with pytest.raises(SceneError, match="photo has 3 values in each voxel"):
        intake.check_volume(vector)


def test_a_label_map_is_not_a_scan(host):
    labels = np.zeros((3, 4, 5), np.uint8)
    label_map = slicer.util.addVolumeFromArray(labels, nodeClassName="vtkMRMLLabelMapVolumeNode", name="organs")
    with pytest.raises(SceneError, match="organs is a label map"):
        intake.check_volume(label_map)


def test_a_scan_that_came_from_a_server_is_a_case_already(host, phantom_case):
    case = CaseScene(host.scene)
    with pytest.raises(SceneError, match="phantom_1 belongs to a case"):
        intake.check_volume(case.show_scan("phantom_1", phantom_case.scan))


def test_a_frame_of_a_sequence_needs_a_copy_which_stands_still(host):
    volume = add_volume(name="4D")
    sequence = host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "frames")
    for number in range(3):
        slicer.util.updateVolumeFromArray(volume, np.full((5, 6, 7), number, np.int16))
        sequence.SetDataNodeAtValue(volume, str(number))
    browser = host.scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(volume, sequence, False)
    with pytest.raises(intake.NeedsCopyError, match="4D is one frame of a sequence"):
        intake.check_volume(volume)
    shown = slicer.util.arrayFromVolume(volume).copy()
    copy = intake.usable_copy(volume)
    intake.check_volume(copy)
    slicer.util.updateVolumeFromArray(volume, np.full((5, 6, 7), 9, np.int16))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(copy), shown)


def test_a_moved_volume_needs_a_copy_which_lies_where_it_is_shown(host):
    volume = add_volume(oblique_affine())
    turn = np.array([[0, -1, 0, 12], [1, 0, 0, -7], [0, 0, 1, 3], [0, 0, 0, 1]], dtype=float)
    volume.SetAndObserveTransformNodeID(add_transform(turn).GetID())
    with pytest.raises(intake.NeedsCopyError, match="CT is moved by the transform shift"):
        intake.check_volume(volume)
    copy = intake.usable_copy(volume)
    intake.check_volume(copy)
    np.testing.assert_allclose(geometry(copy), turn @ oblique_affine(), atol=1e-6)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(copy), slicer.util.arrayFromVolume(volume))
    np.testing.assert_allclose(geometry(volume), oblique_affine(), atol=1e-6)


def test_a_sheared_volume_is_refused(host):
    shear = np.eye(4)
    shear[0, 1] = 0.2
    volume = add_volume()
    volume.SetAndObserveTransformNodeID(add_transform(shear).GetID())
    with pytest.raises(SceneError, match="not at right angles"):
        intake.check_volume(intake.usable_copy(volume))


def test_two_volumes_of_one_name_get_two_ids_and_the_same_one_gets_one(host):
    first, second = add_volume(name="2: CT Thorax / Müller"), add_volume(name="2: CT Thorax / Müller")
    assert intake.proposed_id(first) == intake.proposed_id(second)
    slicer.util.arrayFromVolume(second)[0, 0, 0] += 1
    assert intake.proposed_id(first) != intake.proposed_id(second)
    assert intake.proposed_id(first).startswith("2_CT_Thorax_M_ller-")


def test_a_name_without_letters_still_gives_an_id(host):
    assert intake.proposed_id(add_volume(name="/// ")).startswith("scan-")


@pytest.mark.parametrize("flip", [1, -1], ids=["right-handed", "left-handed"])
def test_voxels_correspond_exactly_on_any_grid_of_the_users(host, tmp_path, flip):
    """Scan to file, a label on the file's grid back to segments, and the segments to a label file again."""
    affine = oblique_affine() @ np.diag([1.0, 1.0, -flip, 1.0])  # oblique_affine is left-handed
    assert np.sign(np.linalg.det(affine)) == flip
    volume = add_volume(affine)
    before = slicer.util.arrayFromVolume(volume).copy()
    nodes.write_volume(volume, tmp_path / "scan.nii")
    written = nib.load(tmp_path / "scan.nii")
    np.testing.assert_array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), before)
    np.testing.assert_allclose(written.affine, affine, atol=1e-4)

    label = np.zeros(written.shape, np.uint8)
    label[1:4, 2:5, 1:3] = 1
    label[5, 0, 4] = 2
    nib.Nifti1Image(label, written.affine).to_filename(tmp_path / "label.nii")
    case = CaseScene(host.scene)
    case.use_scan("ct", volume)
    labels = (Label(1, "organ"), Label(2, "lesion"))
    segmentation = case.show_segmentation(tmp_path / "label.nii", labels, {})
    for segment_id, label_id in zip(segmentation.GetSegmentation().GetSegmentIDs(), (1, 2), strict=True):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume)
        np.testing.assert_array_equal(mask.transpose(2, 1, 0), label == label_id)
    label[0, 0, 0] = 2
    nib.Nifti1Image(label, written.affine).to_filename(tmp_path / "corrected.nii")
    case.redraw(tmp_path / "corrected.nii")
    case.write_label(tmp_path / "sent.nii.gz")
    sent = nib.load(tmp_path / "sent.nii.gz")
    np.testing.assert_array_equal(np.asarray(sent.dataobj), label)
    np.testing.assert_allclose(sent.affine, written.affine, atol=1e-4)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), before)


def test_the_users_volume_stays_when_the_case_goes(host, phantom_case):
    volume, case = add_volume(), CaseScene(host.scene)
    view = host.slice_view("Red")
    case.use_scan("ct", volume)
    assert view.composite_node.GetBackgroundVolumeID() == volume.GetID()
    case.show_scan("phantom_1", phantom_case.scan)
    assert volume.GetScene() is host.scene
    assert volume.GetAttribute(nodes.CASE) is None


def test_channels_are_told_by_their_names_in_those_of_volumes():
    ce, plain, flair = (add_volume(name=name) for name in ("sub-1_T1ce", "sub-1 T1", "FLAIR_axial"))
    found = intake.channels_by_name(["T1", "T1ce", "FLAIR", "T2"], [ce, plain, flair])
    assert found == {"T1ce": ce, "T1": plain, "FLAIR": flair}
    assert intake.channels_by_name(["T1", "T1ce"], [ce]) == {"T1ce": ce}


def film(*frames: np.ndarray, name: str = "film", colour: bool = False):
    """Frames `[J, I]`, or `[J, I, 3]` in colour, as Slicer loads a film: a sequence that a browser plays."""
    kind = "vtkMRMLVectorVolumeNode" if colour else "vtkMRMLScalarVolumeNode"
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    for number, frame in enumerate(frames):
        node = slicer.util.addVolumeFromArray(frame[None], nodeClassName=kind, name=name)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-0.5, -0.5, 1.0, 1.0])))
        sequence.SetDataNodeAtValue(node, str(number))
        slicer.mrmlScene.RemoveNode(node)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequence)


def test_of_a_frame_of_a_clip_the_copy_holds_all_frames_and_is_a_clip(host):
    from UncertaintySegLib.scene import flat

    frames = [np.full((6, 8), 10 * number, np.uint8) for number in range(4)]
    shown = film(*frames)
    with pytest.raises(intake.NeedsCopyError, match="film is one frame of a clip of 4: work on a copy that holds all"):
        intake.check_volume(shown)
    copy = intake.usable_copy(shown)
    intake.check_volume(copy)
    assert flat.is_clip(copy)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(copy), np.stack(frames))
    np.testing.assert_allclose(geometry(copy), np.diag([-0.5, -0.5, 1.0, 1.0]))


def test_colour_becomes_grey_by_luma_and_stays_what_it_is_where_the_channels_agree(host):
    colours = np.array([[[200, 100, 50], [7, 7, 7]]], np.uint8)
    shown = film(colours, colours, colour=True)
    copy = intake.usable_copy(shown)
    expected = [0.299 * 200 + 0.587 * 100 + 0.114 * 50, 7]
    np.testing.assert_allclose(slicer.util.arrayFromVolume(copy)[:, 0], [expected, expected], rtol=1e-6)
    photo = slicer.util.addVolumeFromArray(colours[None], nodeClassName="vtkMRMLVectorVolumeNode", name="photo")
    with pytest.raises(intake.NeedsCopyError, match="photo is a picture in colour: work on a copy in grey"):
        intake.check_volume(photo)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(intake.usable_copy(photo))[0, 0], expected, rtol=1e-6)
    grey = np.repeat(np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1), 3, axis=3)
    photo = slicer.util.addVolumeFromArray(grey, nodeClassName="vtkMRMLVectorVolumeNode", name="photo")
    assert slicer.util.arrayFromVolume(intake.usable_copy(photo)).dtype == np.uint8


def test_frames_of_different_sizes_are_no_clip(host):
    shown = film(np.zeros((6, 8), np.uint8), np.zeros((6, 9), np.uint8))
    with pytest.raises(SceneError, match="Frame 2 of film is 9 x 6 pixels, the first is 8 x 6 pixels: the frames of a"):
        intake.check_volume(shown)


def test_an_image_of_unknown_spacing_counts_pixels(host):
    from UncertaintySegLib.scene import flat

    voxels = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
    volume = slicer.util.addVolumeFromArray(voxels, nodeClassName="vtkMRMLScalarVolumeNode", name="scan")
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-0.3, -0.3, 1.0, 1.0])))
    intake.check_volume(volume)
    flat.set_spacing_known(volume, False)
    with pytest.raises(intake.NeedsCopyError, match=r"The spacing of scan, 0\.3 x 0\.3 mm here, is said to be unknown"):
        intake.check_volume(volume)
    copy = intake.usable_copy(volume)
    intake.check_volume(copy)
    np.testing.assert_allclose(geometry(copy), np.diag([-1.0, -1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(copy), voxels)
    assert not flat.spacing_known(copy)
