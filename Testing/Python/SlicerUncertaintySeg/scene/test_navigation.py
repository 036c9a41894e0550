"""The views at a region: exact on oblique and flipped grids."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import navigation

BOX = ((20, 12, 6), (30, 25, 14))


@pytest.fixture
def views(host):
    return [host.slice_view(name) for name in ("Red", "Yellow", "Green")]


def ras_of(files, ijk) -> np.ndarray:
    return nib.affines.apply_affine(nib.load(files.scan).affine, ijk)


def test_voxels_of_the_file_lie_where_the_file_says(shown_case, phantom_case):
    scan = shown_case.scan
    assert scan.GetAttribute("UncertaintySeg.LeftHandedFile")
    for ijk in ((0, 0, 0), (47, 43, 23), (20, 12, 6)):
        assert (navigation.file_to_ras(scan) @ [*ijk, 1.0])[:3] == pytest.approx(ras_of(phantom_case, ijk), abs=1e-3)


def test_a_box_has_the_outer_corners_of_its_voxels(shown_case, phantom_case):
    found = navigation.corners(shown_case.scan, BOX)
    expected = {
        tuple(np.round(ras_of(phantom_case, (i, j, k)), 2))
        for i in (19.5, 30.5)
        for j in (11.5, 25.5)
        for k in (5.5, 14.5)
    }
    assert {tuple(np.round(corner, 2)) for corner in found} == expected


def test_a_box_of_the_node_is_one_of_the_file(shown_case):
    scan = shown_case.scan
    values = np.zeros(slicer.util.arrayFromVolume(scan).shape, bool)
    values[navigation.node_index(scan, [BOX[0], BOX[1]])] = True
    places = np.argwhere(values)
    first, last = tuple(places.min(axis=0).tolist()), tuple(places.max(axis=0).tolist())
    assert navigation.file_box(scan, first, last) == BOX


def test_every_view_shows_the_position_in_its_slice_and_the_box_around_it(host, views, shown_case, phantom_case):
    position = tuple(ras_of(phantom_case, (24, 15, 8)))
    corners = navigation.corners(shown_case.scan, BOX)
    navigation.look_at(host.scene, position, corners)
    for view in views:
        to_slice = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.node.GetSliceToRAS()))
        assert (to_slice @ [*position, 1.0])[2] == pytest.approx(0.0, abs=1e-4)
        height, width, _channels = view.image().shape
        pixels = np.array([view.pixel_of(tuple(corner)) for corner in corners])
        assert (pixels > 0).all()
        assert (pixels < (height, width)).all()
        middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
        assert middle == pytest.approx((height / 2, width / 2), abs=2)


def test_a_small_region_keeps_its_surroundings(host, views, shown_case, phantom_case):
    tiny = navigation.corners(shown_case.scan, ((24, 15, 8), (24, 15, 8)))
    navigation.look_at(host.scene, tuple(ras_of(phantom_case, (24, 15, 8))), tiny)
    assert min(views[0].node.GetFieldOfView()[:2]) >= 40.0


def test_the_3d_view_turns_about_the_position(host, shown_case):
    host.three_d_view().render()
    camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(host.three_d_view().node)
    before = np.array(camera.GetPosition()) - camera.GetFocalPoint()
    navigation.look_at(host.scene, (12.0, -30.0, 20.0), navigation.corners(shown_case.scan, BOX))
    assert camera.GetFocalPoint() == pytest.approx((12.0, -30.0, 20.0))
    assert np.array(camera.GetPosition()) - camera.GetFocalPoint() == pytest.approx(before)


def test_the_box_is_seen_and_goes_with_the_case(host, views, shown_case, phantom_case, tmp_path):
    box = navigation.RegionBox(host.scene)
    corners = navigation.corners(shown_case.scan, BOX)
    navigation.look_at(host.scene, tuple(ras_of(phantom_case, (24, 15, 8))), corners)
    without = views[0].image().astype(int)
    box.show("phantom_1", corners)
    views[0].save_png(tmp_path / "box.png")
    image = views[0].image().astype(int)
    drawn = (np.abs(image - without).sum(axis=2) > 60) & (image.min(axis=2) > 200)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    edges = drawn[rows[0] : rows[-1] + 1, columns[0]], drawn[rows[0], columns[0] : columns[-1] + 1]
    for edge in edges:
        assert np.count_nonzero(np.diff(edge.astype(int)) == 1) >= 3, "a dashed line begins again and again"
    box.hide()
    assert (views[0].image() == without).all()
    box.show("phantom_1", corners)
    assert not box.in_slices.GetSaveWithScene()
    shown_case.clear()
    assert box.in_slices.GetScene() is box.in_3d.GetScene() is None
    box.hide()
