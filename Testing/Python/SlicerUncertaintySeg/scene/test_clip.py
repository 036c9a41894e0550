"""A clip in a real scene: sequences and a browser that plays them, whose frame the slice views show."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.flat_cases import border, discs, write_case
from UncertaintySegLib.scene import flat, layouts, masks, nodes
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.scene.clip import Clip
from UncertaintySegLib.scene.layouts import Layouts

FRAMES = 5


@pytest.fixture
def scene(host, tmp_path):
    """A clip with its map, in the layout of clips."""
    scene, files = CaseScene(host.scene), write_case(tmp_path, FRAMES)
    scene.show_scan(files.name, files.scan, axis="time")
    scene.show_segmentation(files.label, files.labels, {})
    scene.add_map("error_probability", files.risk, files.info, {})
    scene.show_map("error_probability")
    arrangement = Layouts(host.scene)
    arrangement.show(layouts.CLIP)
    arrangement.turn_to(scene.scan)
    slicer.app.layoutManager().resetSliceViews()
    yield scene
    arrangement.restore()


@pytest.fixture
def clip(host, scene):
    clip = Clip(host.scene)
    clip.show(scene.case, scene.scan)
    yield clip
    clip.clear()


def frames_of(clip, sequence) -> list[np.ndarray]:
    """Each frame of a sequence as `[J, I]`."""
    count = sequence.GetNumberOfDataNodes()
    return [slicer.util.arrayFromVolume(sequence.GetNthDataNode(frame))[0] for frame in range(count)]


def test_the_frames_of_scan_and_map_are_sequences_that_one_browser_plays(clip, scene):
    clip.show_map(scene.case, scene.maps["error_probability"])
    master = clip.browser.GetMasterSequenceNode()
    [risk] = [node for node in nodes.marked(scene.scene, "clip of the map") if node.IsA("vtkMRMLSequenceNode")]
    assert master.GetNumberOfDataNodes() == risk.GetNumberOfDataNodes() == FRAMES
    assert [master.GetNthIndexValue(frame) for frame in range(FRAMES)] == ["1", "2", "3", "4", "5"]
    for frame, (shown, doubt) in enumerate(zip(frames_of(clip, master), frames_of(clip, risk), strict=True)):
        np.testing.assert_array_equal(shown.T > 150, discs(FRAMES)[..., frame])
        np.testing.assert_allclose(doubt.T, border(FRAMES)[..., frame], atol=1e-4)
    assert clip.browser.IsSynchronizedSequenceNode(risk)


def test_whoever_plays_turns_the_view_and_whoever_scrolls_takes_the_browser_along(clip, scene, host):
    clip.browser.SetSelectedItemNumber(3)
    view = host.slice_view("Red")
    assert view.node.GetSliceOffset() == pytest.approx(3.0)
    view.node.SetSliceOffset(1.0)
    assert clip.frame == clip.browser.GetSelectedItemNumber() == 1
    proxy = clip.browser.GetProxyNode(clip.browser.GetMasterSequenceNode())
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(proxy)[0].T > 150, discs(FRAMES)[..., 1])


def test_the_clip_itself_is_what_the_view_shows_and_the_proxies_are_in_no_list(clip, scene, host):
    assert host.slice_view("Red").composite_node.GetBackgroundVolumeID() == scene.scan.GetID()
    assert clip.browser.GetProxyNode(clip.browser.GetMasterSequenceNode()).GetHideFromEditors()


def test_another_map_takes_the_place_of_the_one_before_and_nothing_stays_behind(clip, scene):
    before = {node.GetID() for node in nodes.marked(scene.scene)}
    for _time in range(2):
        clip.show_map(scene.case, scene.maps["error_probability"])
    assert clip.browser.GetNumberOfSynchronizedSequenceNodes() == 1
    clip.show_map(scene.case, None)
    assert {node.GetID() for node in nodes.marked(scene.scene)} == before
    clip.clear()
    assert not nodes.marked(scene.scene, "clip")
    assert scene.scan.GetScene() is scene.scene


def test_a_file_whose_slices_slicer_turns_round_is_played_in_the_order_of_its_frames(host, tmp_path):
    import nibabel as nib

    values = np.arange(FRAMES)[None, None] * np.ones((6, 5, 1))
    nib.Nifti1Image(values.astype(np.uint8), np.diag([-1.0, 1.0, 1.0, 1.0])).to_filename(tmp_path / "turned.nii.gz")
    scene = CaseScene(host.scene)
    scan = scene.show_scan("turned", tmp_path / "turned.nii.gz", axis="time")
    assert scan.GetAttribute(nodes.LEFT_HANDED)
    clip = Clip(host.scene)
    clip.show(scene.case, scan)
    played = [int(frame.max()) for frame in frames_of(clip, clip.browser.GetMasterSequenceNode())]
    assert played == [0, 1, 2, 3, 4]
    assert host.slice_view("Red").node.GetSliceOffset() == pytest.approx(0.0)
    clip.go_to(4)
    assert host.slice_view("Red").node.GetSliceOffset() == pytest.approx(4.0)
    clip.clear()


def test_sizes_of_a_clip_are_mean_areas_of_a_frame_and_of_a_volume_mL(scene):
    voxels = int(discs(FRAMES).sum())
    sizes = {unit: voxels * masks.voxel_size(scene.scan, unit) for unit in ("mm2", "px", "mL")}
    assert sizes == pytest.approx({"mm2": voxels * 0.25 / FRAMES, "px": voxels / FRAMES, "mL": voxels * 0.25 / 1000})


def test_nothing_reaches_from_frame_to_frame(scene):
    from UncertaintySegLib.scene import editing, restriction

    alone = np.zeros((FRAMES, 32, 40), bool)
    alone[2] = discs(FRAMES)[..., 2].T
    near = restriction.place(alone, masks.spacing(scene.scan), restriction.NEAR, 2.0)
    grown = editing.grown(alone, clip=True)
    for found in (near, grown):
        assert found[2].sum() > alone[2].sum()
        assert not found[[0, 1, 3, 4]].any()


def test_what_is_an_image_a_clip_or_a_volume(host, scene, phantom_case, tmp_path):
    assert (flat.is_clip(scene.scan), scene.is_flat) == (True, True)
    files = write_case(tmp_path / "one", 1)
    scan = scene.show_scan(files.name, files.scan)
    assert (flat.is_clip(scan), scene.is_flat) == (False, True)
    scan = scene.show_scan(phantom_case.name, phantom_case.scan)
    assert (flat.is_clip(scan), scene.is_flat) == (False, False)
