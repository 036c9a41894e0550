from __future__ import annotations

import pytest


@pytest.fixture
def points(host):
    """A list of points to which clicks add."""
    node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.CreateDefaultDisplayNodes()
    selection = host.application_logic.GetSelectionNode()
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetActivePlaceNodeID(node.GetID())
    interaction = host.application_logic.GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    yield node
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def test_a_click_places_a_point(view, points):
    view.jump_to((12.0, -5.0, 3.0))
    view.pointer.click(view.pixel_of((12.0, -5.0, 3.0)))
    assert points.GetNumberOfDefinedControlPoints() == 1
    assert points.GetNthControlPointPosition(0) == pytest.approx((12.0, -5.0, 3.0), abs=0.2)


def test_the_crosshair_follows_the_mouse(host, view):
    view.pointer.move(view.pixel_of((-8.0, 4.0, 0.0)))
    ras = [0.0, 0.0, 0.0]
    assert host.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCursorPositionRAS(ras)
    assert ras == pytest.approx([-8.0, 4.0, 0.0], abs=0.6)


def test_the_middle_button_pans(view):
    row, column = view.pixel_of((0.0, 0.0, 0.0))
    view.pointer.drag([(row, column), (row, column + 40)], "Middle")
    assert view.pixel_of((0.0, 0.0, 0.0)) == pytest.approx((row, column + 40), abs=2)


def test_the_arrow_keys_step_through_slices(view):
    view.jump_to((0.0, 0.0, 3.0))
    view.pointer.move(view.pixel_of((0.0, 0.0, 3.0)))
    view.pointer.press_key("Right")
    assert view.node.GetSliceOffset() == pytest.approx(4.0)
