from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import slicer
import vtk

from Testing.Python.SlicerUncertaintySeg.conftest import ENTROPY, riskiest_place, write_scaled_map
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import nodes
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import InferResult, MapInfo


def ijk_to_ras(volume) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def node_names(scene) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def tag(segment, name: str) -> str:
    value = vtk.mutable("")
    assert segment.GetTag(name, value)
    return str(value)


def segments_by_name(segmentation) -> dict:
    contents = segmentation.GetSegmentation()
    return {contents.GetSegment(i).GetName(): contents.GetSegment(i) for i in contents.GetSegmentIDs()}


def sampled(volume_or_mask: np.ndarray, matrix: np.ndarray, file) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the scene and of the file at the same thousand positions in space."""
    image = nib.load(file)
    values = image.get_fdata()
    ijk = np.random.default_rng(1).integers(0, values.shape, (1000, 3))
    ras = np.c_[ijk, np.ones(1000)] @ image.affine.T
    i, j, k = np.rint(ras @ np.linalg.inv(matrix).T)[:, :3].astype(int).T
    return volume_or_mask[k, j, i], values[tuple(ijk.T)]


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case", "abdomen_case"])
def test_scan_label_and_map_lie_where_the_files_say(request, host, show, name):
    files = request.getfixturevalue(name)
    case = show(host, files)
    matrix = ijk_to_ras(case.scan)
    assert np.linalg.det(matrix) > 0
    risk = case.maps["predictive_entropy"]
    np.testing.assert_array_equal(ijk_to_ras(risk), matrix)
    np.testing.assert_array_equal(*sampled(slicer.util.arrayFromVolume(case.scan), matrix, files.scan))
    scene, file = sampled(slicer.util.arrayFromVolume(risk), matrix, files.risk)
    np.testing.assert_allclose(scene, file, atol=1e-5)
    for label in files.labels:
        segment = case.segmentation.GetSegmentation().GetSegmentIdBySegmentName(label.name)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, segment, case.scan)
        scene, file = sampled(mask, matrix, files.label)
        np.testing.assert_array_equal(scene.astype(bool), file == label.id)


def test_a_scaled_uint16_map_arrives_as_floats(shown_case, phantom_case):
    volume = shown_case.maps["predictive_entropy"]
    values = slicer.util.arrayFromVolume(volume)
    assert values.dtype == np.float32
    assert values.max() == pytest.approx(nib.load(phantom_case.risk).get_fdata().max(), abs=1e-6)
    assert volume.GetVoxelValueUnits().GetCodeMeaning() == "nats"


def test_segments_have_the_servers_names_colours_ids_and_codes(shown_case):
    segments = segments_by_name(shown_case.segmentation)
    assert list(segments) == ["organ", "lesion"]
    np.testing.assert_allclose(segments["organ"].GetColor(), np.array([90, 200, 110]) / 255)
    assert tag(segments["lesion"], "UncertaintySeg.LabelId") == "2"
    assert "SCT^10200004^organ" in tag(segments["organ"], slicer.vtkSegment.GetTerminologyEntryTagName())


def test_structures_without_a_colour_get_different_ones(host, show, hippocampus_case):
    colors = show(host, hippocampus_case).structure_colors()
    assert set(colors) == {1, 2}
    assert np.abs(np.subtract(colors[1], colors[2])).max() > 0.3


def test_a_structure_the_model_did_not_find_still_has_a_segment(host, phantom_case):
    case = CaseScene(host.scene)
    case.show_scan("p", phantom_case.scan)
    labels = [*phantom_case.labels, Label(7, "vessel")]
    case.show_segmentation(phantom_case.label, labels, {})
    assert list(segments_by_name(case.segmentation)) == ["organ", "lesion", "vessel"]


def test_nodes_say_where_they_came_from(shown_case):
    volume = shown_case.maps["predictive_entropy"]
    found = {
        key: volume.GetAttribute(f"UncertaintySeg.{key}") for key in ("Case", "Map", "Unit", "Source", "Head", "Seed")
    }
    assert found == {
        "Case": "phantom_1",
        "Map": "predictive_entropy",
        "Unit": "nats",
        "Source": "total",
        "Head": "low_rank",
        "Seed": "3",
    }
    provenance = json.loads(shown_case.segmentation.GetAttribute("UncertaintySeg.Provenance"))
    assert provenance["weights_checksum"] == "ab12"


def test_the_riskiest_place_is_the_centre_of_the_highest_voxel(shown_case, phantom_case):
    values = nib.load(phantom_case.risk).get_fdata()
    ras = np.array(riskiest_place(shown_case))
    i, j, k = np.rint(np.linalg.inv(nib.load(phantom_case.scan).affine) @ [*ras, 1])[:3].astype(int)
    assert values[i, j, k] == values.max()


def test_a_new_case_takes_the_old_ones_place_and_leaves_the_rest(host, show, phantom_case):
    host.slice_view("Red")
    mine = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    other = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.float32), nodeClassName="vtkMRMLScalarVolumeNode")
    before = node_names(host.scene)
    case = show(host, phantom_case)
    first = node_names(host.scene)
    show_again = show(host, phantom_case)
    assert len(node_names(host.scene)) == len(first)
    show_again.clear()
    left = node_names(host.scene) - before
    assert {host.scene.GetNodeByID(i).GetName() for i in left} <= {"Uncertainty"}
    assert {mine.GetID(), other.GetID()} <= node_names(host.scene)
    assert host.slice_view("Red").composite_node.GetForegroundVolumeID() is None
    assert case is not show_again


def test_switching_maps_moves_overlay_and_legend(host, shown_case, phantom_case):
    view = host.slice_view("Red")
    info = MapInfo(url="", unit="1", range=(0.0, 1.0), source="total")
    shown_case.add_map("error_probability", phantom_case.risk, info, {})
    legend_of = slicer.modules.colors.logic().GetColorLegendDisplayNode
    shown_case.set_legend_visible(True)
    for name in ("error_probability", "predictive_entropy", None):
        shown_case.show_map(name)
        expected = shown_case.maps[name].GetID() if name else None
        assert view.composite_node.GetForegroundVolumeID() == expected
        assert {key for key, node in shown_case.maps.items() if legend_of(node).GetVisibility()} == ({name} - {None})


def test_a_foreground_of_the_users_own_stays_when_no_map_is_shown(host, shown_case):
    view = host.slice_view("Red")
    mine = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.float32), nodeClassName="vtkMRMLScalarVolumeNode")
    view.composite_node.SetForegroundVolumeID(mine.GetID())
    shown_case.show_map(None)
    assert view.composite_node.GetForegroundVolumeID() == mine.GetID()


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case", "abdomen_case"])
def test_an_untouched_label_comes_back_as_it_was(request, host, show, name, tmp_path):
    files = request.getfixturevalue(name)
    case = show(host, files)
    assert case.write_label(tmp_path / "out.nii.gz") == []
    written, original = nib.load(tmp_path / "out.nii.gz"), nib.load(files.label)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(original.dataobj))
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-3)
    assert written.get_data_dtype() == np.uint8


def test_edits_are_noticed_and_exported_under_the_right_ids(shown_case, phantom_case, tmp_path):
    assert not shown_case.edited
    segmentation = shown_case.segmentation
    lesion = segmentation.GetSegmentation().GetSegmentIdBySegmentName("lesion")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, lesion, shown_case.scan).copy()
    mask[2:5, 3:6, 4:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, lesion, shown_case.scan)
    assert shown_case.edited
    shown_case.write_label(tmp_path / "out.nii.gz")
    expected = np.asarray(nib.load(phantom_case.label).dataobj).copy()
    expected[4:9, 3:6, expected.shape[2] - 5 : expected.shape[2] - 2] = 2  # the file's slices run the other way
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), expected)


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case"])
def test_drawn_labels_come_back_from_their_file(request, host, show, name, tmp_path):
    case = show(host, request.getfixturevalue(name))
    before = case.label_ids()
    drawn = np.random.default_rng(2).integers(0, 3, before.shape).astype(before.dtype)
    case.draw(drawn)
    assert case.edited
    case.write_label(tmp_path / "out.nii.gz")
    case.draw(before)
    case.redraw(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(case.label_ids(), drawn)


def test_a_segment_of_the_users_own_is_named_and_takes_no_voxels(shown_case, phantom_case, tmp_path):
    segmentation = shown_case.segmentation
    mark = segmentation.GetSegmentation().AddEmptySegment("", "unsure here")
    everywhere = np.ones(slicer.util.arrayFromVolume(shown_case.scan).shape, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(everywhere, segmentation, mark, shown_case.scan)
    assert shown_case.write_label(tmp_path / "out.nii.gz") == ["unsure here"]
    written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    np.testing.assert_array_equal(written, np.asarray(nib.load(phantom_case.label).dataobj))


def test_a_label_with_every_segment_empty_is_a_volume_of_background(host, phantom_case, tmp_path):
    image = nib.load(phantom_case.label)
    empty = tmp_path / "empty.nii.gz"
    nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine).to_filename(empty)
    case = CaseScene(host.scene)
    case.show_scan("p", phantom_case.scan)
    case.show_segmentation(empty, phantom_case.labels, {})
    case.write_label(tmp_path / "out.nii.gz")
    written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    assert written.shape == image.shape
    assert not written.any()


def test_a_file_that_is_no_image_is_named_and_the_case_before_stays(host, shown_case, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not an image")
    before = node_names(host.scene)
    with pytest.raises(SceneError, match=r"broken\.nii\.gz cannot be read"):
        shown_case.show_scan("next", broken)
    with pytest.raises(SceneError, match=r"missing\.nii\.gz cannot be read"):
        shown_case.show_segmentation(tmp_path / "missing.nii.gz", [], {})
    assert node_names(host.scene) == before
    assert shown_case.case == "phantom_1"


def test_an_unknown_label_id_is_named_and_nothing_stays(host, shown_case, phantom_case):
    before = node_names(host.scene)
    with pytest.raises(SceneError, match=r"label\.nii\.gz holds label 2"):
        shown_case.show_segmentation(phantom_case.label, phantom_case.labels[:1], {})
    assert node_names(host.scene) == before


def test_a_label_that_cannot_be_written_leaves_the_old_file(shown_case, tmp_path):
    (tmp_path / "out.unknown").write_text("old")
    with pytest.raises(SceneError, match=r"out\.unknown cannot be written"):
        nodes.write_volume(shown_case.scan, tmp_path / "out.unknown")
    assert (tmp_path / "out.unknown").read_text(encoding="utf-8") == "old"


def test_nodes_that_the_user_deleted_are_missed_politely(host, shown_case, phantom_case, tmp_path):
    host.scene.RemoveNode(shown_case.maps["predictive_entropy"])
    assert shown_case.maps == {}
    shown_case.set_threshold(0.5)
    shown_case.show_map(None)
    host.scene.RemoveNode(shown_case.segmentation)
    with pytest.raises(SceneError, match="run the model again"):
        shown_case.write_label(tmp_path / "out.nii.gz")
    host.scene.RemoveNode(shown_case.scan)
    with pytest.raises(SceneError, match="take the case again"):
        shown_case.show_segmentation(phantom_case.label, phantom_case.labels, {})
    assert shown_case.structure_colors() == {}
    shown_case.clear()


def mask_of(case, name: str) -> np.ndarray:
    segment = case.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, segment, case.scan).copy()


def write_label_like(files, values: np.ndarray, path):
    nib.Nifti1Image(values.astype(np.uint8), nib.load(files.label).affine).to_filename(path)
    return path


def result_of(files, **urls: str) -> InferResult:
    maps = {name: MapInfo(url, "nats", ENTROPY.range, "total") for name, url in urls.items()}
    return InferResult("k2", "", files.labels, maps, (), {"model": "phantom", "seed": 4})


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case"])
def test_a_redrawn_label_lies_where_its_file_says_in_the_same_node(request, host, show, name, tmp_path):
    files = request.getfixturevalue(name)
    case = show(host, files)
    before, values = case.segmentation, np.asarray(nib.load(files.label).dataobj)
    new = np.roll(values, 3, axis=0)
    case.redraw(write_label_like(files, new, tmp_path / "new.nii.gz"))
    assert case.segmentation is before
    case.write_label(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), new)


def test_redrawing_tells_whoever_watches_once_and_undoes_as_one_step(shown_case, phantom_case, tmp_path):
    contents = shown_case.segmentation.GetSegmentation()
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(contents)
    history.SaveState()
    before = {name: mask_of(shown_case, name) for name in ("organ", "lesion")}
    heard = []
    contents.AddObserver(
        slicer.vtkSegmentation.SourceRepresentationModified, lambda *_: heard.append(shown_case.redrawing)
    )
    shown_case.segmentation.CreateClosedSurfaceRepresentation()
    empty = np.zeros(nib.load(phantom_case.label).shape)
    shown_case.redraw(write_label_like(phantom_case, empty, tmp_path / "empty.nii.gz"))
    assert heard == [True]
    assert not mask_of(shown_case, "organ").any()
    history.RestorePreviousState()
    for name, mask in before.items():
        np.testing.assert_array_equal(mask_of(shown_case, name), mask)


def test_redrawing_leaves_a_segment_of_the_users_own_and_surfaces_follow(shown_case, phantom_case, tmp_path):
    segmentation = shown_case.segmentation
    mark = segmentation.GetSegmentation().AddEmptySegment("", "unsure here")
    everywhere = np.ones(slicer.util.arrayFromVolume(shown_case.scan).shape, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(everywhere, segmentation, mark, shown_case.scan)
    segmentation.CreateClosedSurfaceRepresentation()
    lesion = np.asarray(nib.load(phantom_case.label).dataobj) == 2
    shown_case.redraw(write_label_like(phantom_case, 2 * lesion, tmp_path / "lesion.nii.gz"))
    assert mask_of(shown_case, "unsure here").all()
    organ = segmentation.GetSegmentation().GetSegmentIdBySegmentName("organ")
    surface = segmentation.GetClosedSurfaceInternalRepresentation(organ)
    assert surface is None or surface.GetNumberOfPoints() == 0


def test_a_label_on_another_grid_is_refused_and_the_segments_stay(shown_case, phantom_case, tmp_path):
    before = mask_of(shown_case, "organ")
    image = nib.load(phantom_case.label)
    moved = nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([2, 1, 1, 1]))
    moved.to_filename(tmp_path / "moved.nii.gz")
    with pytest.raises(SceneError, match=r"moved\.nii\.gz does not lie on the grid of the scan"):
        shown_case.redraw(tmp_path / "moved.nii.gz")
    unknown = write_label_like(phantom_case, np.full(image.shape, 9), tmp_path / "unknown.nii.gz")
    with pytest.raises(SceneError, match=r"holds label 9"):
        shown_case.redraw(unknown)
    np.testing.assert_array_equal(mask_of(shown_case, "organ"), before)
    assert not shown_case.redrawing


def test_a_later_results_map_takes_the_voxels_and_keeps_node_and_looks(host, shown_case, phantom_case, tmp_path):
    volume = shown_case.maps["predictive_entropy"]
    shown_case.set_threshold(0.37)
    shown_case.set_opacity(0.8)
    image = nib.load(phantom_case.risk)
    halved = np.asarray(image.dataobj) / 2
    nib.Nifti1Image(halved.astype(np.float32), image.affine).to_filename(tmp_path / "half.nii.gz")
    host.slice_view("Red")
    shown_case.show_map("predictive_entropy")
    shown_case.show_result_maps(
        result_of(phantom_case, predictive_entropy="/2/entropy"), {"predictive_entropy": tmp_path / "half.nii.gz"}
    )
    assert shown_case.maps == {"predictive_entropy": volume}
    assert shown_case.threshold("predictive_entropy") == pytest.approx(0.37)
    assert host.slice_view("Red").composite_node.GetForegroundVolumeID() == volume.GetID()
    assert host.slice_view("Red").composite_node.GetForegroundOpacity() == pytest.approx(0.8)
    values, expected = sampled(slicer.util.arrayFromVolume(volume), ijk_to_ras(volume), tmp_path / "half.nii.gz")
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert volume.GetAttribute("UncertaintySeg.Seed") == "4"


def test_maps_of_an_older_result_go_unless_the_new_one_has_them_at_the_same_place(shown_case, phantom_case):
    first = result_of(phantom_case, predictive_entropy="/1/entropy", mutual_information="/1/mi", variance="/1/variance")
    shown_case.show_result_maps(first, dict.fromkeys(first.maps, phantom_case.risk))
    second = result_of(phantom_case, predictive_entropy="/2/entropy", mutual_information="/1/mi")
    shown_case.show_result_maps(second, {})
    assert set(shown_case.maps) == {"mutual_information"}
    assert shown_case.shown == "mutual_information"
    shown_case.show_result_maps(second, {"predictive_entropy": phantom_case.risk})
    assert shown_case.shown == "predictive_entropy", "the map that was chosen last comes back"


def test_no_map_stays_no_map(shown_case, phantom_case):
    shown_case.show_map(None)
    shown_case.show_result_maps(
        result_of(phantom_case, predictive_entropy="/2"), {"predictive_entropy": phantom_case.risk}
    )
    assert shown_case.shown is None


def test_the_upper_end_of_a_maps_threshold_is_its_top_also_after_other_voxels_came(host, shown_case, tmp_path):
    """The slider of Slicer's Volumes module widens its range to it."""
    volume = shown_case.maps["predictive_entropy"]
    display = volume.GetScalarVolumeDisplayNode()
    lower = display.GetLowerThreshold()
    assert display.GetUpperThreshold() == slicer.util.arrayFromVolume(volume).max()
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    write_scaled_map(tmp_path / "higher.nii.gz", np.full((4, 4, 4), 1.0), affine, ENTROPY.range[1])
    shown_case.add_map("predictive_entropy", tmp_path / "higher.nii.gz", ENTROPY, {})
    assert display.GetUpperThreshold() == pytest.approx(1.0, abs=1e-4)
    assert display.GetLowerThreshold() == lower
