"""Clicks and strokes: the voxels that they are, and the nodes that show them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import clicks
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
    assert clicks.voxels(Mark(1, False, near), shown_case.scan) == voxels


def test_points_outside_the_scan_are_none(shown_case, phantom_case):
    points = (ras_of(phantom_case, (-1, 0, 0)), ras_of(phantom_case, (48, 0, 0)), ras_of(phantom_case, (3, 3, 3)))
    assert clicks.voxels(Mark(1, False, points), shown_case.scan) == [(3, 3, 3)]


def test_a_stroke_has_no_gaps(shown_case, phantom_case):
    ends = tuple(ras_of(phantom_case, end) for end in ((4, 4, 2), (30, 17, 9)))
    found = np.array(clicks.voxels(Mark(1, True, ends), shown_case.scan))
    assert found[0].tolist() == [4, 4, 2]
    assert found[-1].tolist() == [30, 17, 9]
    assert np.abs(np.diff(found, axis=0)).max() == 1


def test_a_left_click_places_a_point_in_the_colour_of_its_structure(red, click_nodes, told, shown_case, phantom_case):
    place = PlaceMode(lambda: None)
    place.start(click_nodes.points("phantom_1", 2, COLORS))
    red.pointer.click(red.pixel_of(ras_of(phantom_case, (26, 20, 11))))
    assert told == [True]
    (mark,) = click_nodes.marks()
    assert (mark.label_id, mark.is_stroke) == (2, False)
    k, j, i = np.abs(np.array(clicks.voxels(mark, shown_case.scan)[0]) - (26, 20, 11))[::-1]
    assert max(i, j, k) <= 1
    node = click_nodes.points("phantom_1", 2, COLORS)
    assert node.GetDisplayNode().GetSelectedColor() == pytest.approx(COLORS[2])
    place.stop()
    assert not place.is_on
    place.close()


def test_a_point_that_is_deleted_is_told(red, click_nodes, told, phantom_case):
    click_nodes.put("phantom_1", [Mark(1, False, (ras_of(phantom_case, (26, 20, 11)),))], COLORS)
    assert told == []
    click_nodes.points("phantom_1", 1, COLORS).RemoveNthControlPoint(0)
    assert told == [True]
    assert click_nodes.marks() == ()


def test_a_point_can_be_dragged(red, click_nodes, told, phantom_case, shown_case):
    start = ras_of(phantom_case, (26, 20, 11))
    click_nodes.put("phantom_1", [Mark(1, False, (start,))], COLORS)
    row, column = red.pixel_of(start)
    red.pointer.drag([(row, column), (row + 20, column + 10), (row + 40, column + 20)])
    assert told == [True]
    ((moved,),) = (mark.points for mark in click_nodes.marks())
    assert np.linalg.norm(np.array(moved) - start) > 5


def test_a_node_that_the_user_deletes_is_told_and_a_closed_scene_is_not(host, click_nodes, told, phantom_case):
    point = ras_of(phantom_case, (26, 20, 11))
    click_nodes.put("phantom_1", [Mark(1, False, (point,)), Mark(2, True, (point, point))], COLORS)
    (stroke,) = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode", host.scene)
    host.scene.RemoveNode(stroke)
    assert told == [True]
    assert [mark.label_id for mark in click_nodes.marks()] == [1]
    host.scene.Clear(False)
    assert told == [True]


def test_a_stroke_follows_the_mouse_and_leaves_the_window_level_alone(red, click_nodes, told, shown_case, phantom_case):
    strokes = []
    scribble = Scribble(
        lambda ras: (strokes.append(click_nodes.new_stroke("phantom_1", 1, COLORS)), clicks.add_point(strokes[0], ras)),
        lambda ras: clicks.add_point(strokes[0], ras),
        click_nodes.finish,
    )
    scribble.start()
    window = shown_case.scan.GetScalarVolumeDisplayNode().GetWindow()
    path = [red.pixel_of(ras_of(phantom_case, (i, 20, 11))) for i in (18, 22, 26, 30)]
    red.pointer.drag(path)
    assert told == [True]
    (mark,) = click_nodes.marks()
    assert mark.is_stroke
    assert len(clicks.voxels(mark, shown_case.scan)) >= 12
    assert shown_case.scan.GetScalarVolumeDisplayNode().GetWindow() == window
    scribble.stop()
    red.pointer.drag(path)
    assert len(click_nodes.marks()) == 1


def test_marks_come_back_as_they_were(click_nodes, phantom_case):
    points = tuple(ras_of(phantom_case, (i, 20, 11)) for i in (20, 22, 24))
    marks = (Mark(1, False, points[:2]), Mark(0, False, points[2:]), Mark(2, True, points))
    click_nodes.put("phantom_1", marks, COLORS)
    click_nodes.put("phantom_1", (), COLORS)
    assert click_nodes.marks() == ()
    click_nodes.put("phantom_1", marks, COLORS)
    assert sorted(click_nodes.marks()) == sorted(marks)
