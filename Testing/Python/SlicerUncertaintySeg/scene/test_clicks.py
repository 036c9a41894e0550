"""Clicks and strokes: the voxels that they are, and the nodes that show them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import clicks, enclosures, nodes
from UncertaintySegLib.scene.clicks import ClickNodes, Mark, PlaceMode
from UncertaintySegLib.scene.scribble import Scribble

COLORS = {1: (0.2, 0.8, 0.3), 2: (0.3, 0.5, 1.0)}


def ras_of(files, ijk) -> tuple[float, ...]:
    return tuple(nib.affines.apply_affine(nib.load(files.scan).affine, ijk).tolist())


@pytest.fixture
def told():
    return []


@pytest.fixture
def click_nodes(host, shown_case, told):
    nodes = ClickNodes(host.scene, lambda: told.append(True))
    yield nodes
    nodes.close()


@pytest.fixture
def red(host, shown_case, phantom_case):
    """The axial view at the middle of the ball."""
    view = host.slice_view("Red")
    view.fit()
    view.jump_to(ras_of(phantom_case, (26, 20, 11)))
    return view


def test_points_are_voxels_of_the_file(shown_case, phantom_case):
    voxels = [(20, 12, 6), (47, 43, 23), (0, 0, 0)]
    near = tuple(ras_of(phantom_case, np.add(voxel, (0.4, -0.4, 0.3))) for voxel in voxels)
    assert clicks.voxels(Mark(1, clicks.POINTS, near), shown_case.scan) == voxels


def test_points_outside_the_scan_are_none(shown_case, phantom_case):
    points = (ras_of(phantom_case, (-1, 0, 0)), ras_of(phantom_case, (48, 0, 0)), ras_of(phantom_case, (3, 3, 3)))
    assert clicks.voxels(Mark(1, clicks.POINTS, points), shown_case.scan) == [(3, 3, 3)]


@pytest.mark.parametrize("kind", [clicks.POINTS, clicks.STROKE])
def test_what_lies_between_two_voxels_goes_to_the_same_one_on_every_processor(shown_case, phantom_case, kind):
    """Their products differ in the last digits, so points are moved by as much here."""
    random = np.random.default_rng(0)
    for _ in range(50):
        ends = random.integers(4, 40, (2, 3)) / 2  # so there are ties at the ends, and on the way
        points = np.array([ras_of(phantom_case, end) for end in ends])
        found = [
            clicks.voxels(Mark(1, kind, tuple(map(tuple, points + noise))), shown_case.scan)
            for noise in (-1e-11, 0.0, 1e-11, random.uniform(-1e-11, 1e-11, (2, 3)))
        ]
        assert found.count(found[0]) == len(found)
        assert found[0][0] == tuple(np.floor(ends[0] + 0.5).astype(int))


def test_a_stroke_has_no_gaps(shown_case, phantom_case):
    ends = tuple(ras_of(phantom_case, end) for end in ((4, 4, 2), (30, 17, 9)))
    found = np.array(clicks.voxels(Mark(1, clicks.STROKE, ends), shown_case.scan))
    assert found[0].tolist() == [4, 4, 2]
    assert found[-1].tolist() == [30, 17, 9]
    assert np.abs(np.diff(found, axis=0)).max() == 1


def test_a_left_click_places_a_point_in_the_colour_of_its_structure(red, click_nodes, told, shown_case, phantom_case):
    place = PlaceMode(lambda: None)
    place.start(click_nodes.points("phantom_1", 2, COLORS))
    red.pointer.click(red.pixel_of(ras_of(phantom_case, (26, 20, 11))))
    assert told == [True]
    (mark,) = click_nodes.marks()
    assert (mark.label_id, mark.kind) == (2, clicks.POINTS)
    k, j, i = np.abs(np.array(clicks.voxels(mark, shown_case.scan)[0]) - (26, 20, 11))[::-1]
    assert max(i, j, k) <= 1
    node = click_nodes.points("phantom_1", 2, COLORS)
    assert node.GetDisplayNode().GetSelectedColor() == pytest.approx(COLORS[2])
    place.stop()
    assert not place.is_on
    place.close()


def test_a_point_that_is_deleted_is_told(red, click_nodes, told, phantom_case):
    click_nodes.put("phantom_1", [Mark(1, clicks.POINTS, (ras_of(phantom_case, (26, 20, 11)),))], COLORS)
    assert told == []
    click_nodes.points("phantom_1", 1, COLORS).RemoveNthControlPoint(0)
    assert told == [True]
    assert click_nodes.marks() == ()


def test_a_point_can_be_dragged(red, click_nodes, told, phantom_case, shown_case):
    start = ras_of(phantom_case, (26, 20, 11))
    click_nodes.put("phantom_1", [Mark(1, clicks.POINTS, (start,))], COLORS)
    row, column = red.pixel_of(start)
    red.pointer.drag([(row, column), (row + 20, column + 10), (row + 40, column + 20)])
    assert told == [True]
    ((moved,),) = (mark.points for mark in click_nodes.marks())
    assert np.linalg.norm(np.array(moved) - start) > 5


def test_a_node_that_the_user_deletes_is_told_and_a_closed_scene_is_not(host, click_nodes, told, phantom_case):
    point = ras_of(phantom_case, (26, 20, 11))
    click_nodes.put("phantom_1", [Mark(1, clicks.POINTS, (point,)), Mark(2, clicks.STROKE, (point, point))], COLORS)
    (stroke,) = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode", host.scene)
    host.scene.RemoveNode(stroke)
    assert told == [True]
    assert [mark.label_id for mark in click_nodes.marks()] == [1]
    host.scene.Clear(False)
    assert told == [True]


def test_a_stroke_follows_the_mouse_and_leaves_the_window_level_alone(red, click_nodes, told, shown_case, phantom_case):
    strokes = []
    scribble = Scribble(
        lambda ras: (
            strokes.append(click_nodes.draw(clicks.STROKE, "phantom_1", 1, COLORS)),
            click_nodes.add_point(strokes[0], ras),
        ),
        lambda ras: click_nodes.add_point(strokes[0], ras),
        click_nodes.finish,
    )
    scribble.start()
    window = shown_case.scan.GetScalarVolumeDisplayNode().GetWindow()
    path = [red.pixel_of(ras_of(phantom_case, (i, 20, 11))) for i in (18, 22, 26, 30)]
    red.pointer.drag(path)
    assert told == [True]
    (mark,) = click_nodes.marks()
    assert mark.kind == clicks.STROKE
    assert len(clicks.voxels(mark, shown_case.scan)) >= 12
    assert shown_case.scan.GetScalarVolumeDisplayNode().GetWindow() == window
    scribble.stop()
    red.pointer.drag(path)
    assert len(click_nodes.marks()) == 1


def test_marks_come_back_as_they_were(click_nodes, phantom_case):
    points = tuple(ras_of(phantom_case, (i, 20, 11)) for i in (20, 22, 24))
    marks = (Mark(1, clicks.POINTS, points[:2]), Mark(0, clicks.POINTS, points[2:]), Mark(2, clicks.STROKE, points))
    marks += (Mark(1, clicks.LASSO, (*points, ras_of(phantom_case, (22, 28, 11)))),)
    click_nodes.put("phantom_1", marks, COLORS)
    click_nodes.put("phantom_1", (), COLORS)
    assert click_nodes.marks() == ()
    click_nodes.put("phantom_1", marks, COLORS)
    assert sorted(click_nodes.marks()) == sorted(marks)


def test_a_lasso_holds_the_voxels_that_the_server_finds_in_it(shown_case, phantom_case):
    enclosing = pytest.importorskip("uncertaintyseg.review.enclosing")
    random = np.random.default_rng(0)
    for _ in range(5):
        corners = np.c_[random.uniform(8, 36, (6, 2)), np.full(6, 11.3)]
        mark = Mark(1, clicks.LASSO, tuple(ras_of(phantom_case, corner) for corner in corners))
        found = enclosing.lasso_voxels(corners, (48, 44, 24))
        assert sorted(clicks.voxels(mark, shown_case.scan)) == sorted(map(tuple, found.tolist()))


def test_a_box_is_a_region_of_interest_between_its_corners(click_nodes, phantom_case, shown_case):
    first, last = ras_of(phantom_case, (10, 9, 11)), ras_of(phantom_case, (30, 35, 11))
    click_nodes.axes = enclosures.axes(shown_case.scan)
    click_nodes.put("phantom_1", [Mark(1, clicks.BOX, (first, last))], COLORS)
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") if n.GetAttribute(nodes.ROLE) == "box"]
    (mark,) = click_nodes.marks()
    found = clicks.file_ijk(mark, shown_case.scan)
    np.testing.assert_allclose(np.sort(found, axis=0), [[10, 9, 11], [30, 35, 11]], atol=0.02)
    assert not node.GetSaveWithScene()
