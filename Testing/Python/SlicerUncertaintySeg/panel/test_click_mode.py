"""Clicks and strokes that correct the label, against a server of our own."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.reviewer import SPECS


@pytest.fixture
def connected(reviewer, wire_server):
    reviewer.session.url = wire_server.url
    return reviewer


def test_a_click_asks_with_the_voxel_of_the_file(connected, wire_server, tmp_path):
    connected.press("N")
    connected.ui.structureComboBox.setCurrentIndex(1)
    connected.press("C")
    assert connected.ui.clickButton.isChecked()
    connected.place(SPECS[0][1])
    assert connected.ui.clickHintLabel.text == "Updating..."
    connected.answered()
    (asked,) = [body for path, body in wire_server.bodies if path.endswith("/condition")]
    ((name, (voxel,)),) = asked.items()
    assert name == "lesion"
    assert np.abs(np.array(voxel) - SPECS[0][1]).max() <= 1
    assert connected.session.state.result.key == "c0nd"
    assert connected.session.state.corrections == asked
    assert connected.ui.clickHintLabel.text.startswith("Clicks: 1. The last one took ")
    assert "edited" in connected.states()
    connected.panel.widget.grab().save(str(tmp_path / "clicked.png"))


def test_all_clicks_are_asked_each_time_and_one_taken_back_is_not(connected, wire_server):
    connected.press("N")
    connected.press("C")
    connected.place((26, 8, 11))
    connected.answered()
    connected.ui.structureComboBox.setCurrentIndex(2)
    connected.place((30, 9, 11))
    connected.answered()
    asked = [body for path, body in wire_server.bodies if path.endswith("/condition")]
    assert [sorted(body) for body in asked] == [["organ"], ["background", "organ"]]
    connected.press("Z")
    assert connected.clicks.count == 1
    connected.press("Z")
    assert connected.clicks.count == 0
    assert connected.session.state.result.key == "k3y"
    connected.press("Y")
    connected.press("Y")
    assert connected.clicks.count == 2
    connected.answered()
    assert len([path for path, _body in wire_server.bodies if path.endswith("/condition")]) == 2
    connected.click(connected.ui.removeClicksButton)
    connected.answered()
    assert connected.clicks.count == 0
    connected.press("Z")
    assert connected.clicks.count == 2


def test_a_click_that_is_undone_before_its_answer_is_only_a_step_back(connected, wire_server):
    wire_server.delays["/uncertainty/v1/results/k3y/condition"] = 0.4
    connected.press("C")
    connected.place((26, 8, 11))
    assert connected.clicks.waiting
    connected.press("Z")
    assert connected.clicks.count == 0
    connected.answered()
    assert connected.session.state.result.key == "k3y"
    connected.press("Y")
    connected.answered()
    assert connected.clicks.count == 1
    assert connected.session.state.result.key == "c0nd"


def test_clicks_that_come_before_the_answer_are_one_step_that_covers_them_all(connected, wire_server):
    wire_server.delays["/uncertainty/v1/results/k3y/condition"] = 0.4
    connected.press("C")
    connected.place((26, 8, 11))
    assert connected.session.history.last == "click for organ"
    connected.place((31, 14, 11))
    connected.answered()
    (step,) = connected.session.history.done
    assert step.text == "click for organ and 1 more"
    first, last = np.array(step.box)
    for place in ((26, 8, 11), (31, 14, 11)):
        assert (first <= np.array(place) + 1).all()
        assert (np.array(place) - 1 <= last).all()
    connected.press("Z")
    assert connected.clicks.count == 0


def test_a_scribble_is_sent_as_voxels(connected, wire_server):
    connected.ui.toolComboBox.setCurrentIndex(1)
    connected.press("C")
    view = connected.host.slice_view("Red")
    view.jump_to(connected.ras((26, 8, 11)))
    view.pointer.drag([view.pixel_of(connected.ras((i, 8, 11))) for i in (20, 24, 28, 32)])
    connected.answered()
    (asked,) = [body for path, body in wire_server.bodies if path.endswith("/condition")]
    assert len(asked["scribbles"]["organ"]) >= 12


@pytest.mark.parametrize(("tool", "kind"), [(2, "lassos"), (3, "boxes")])
def test_a_lasso_and_a_box_are_drawn_sent_undone_and_redone(connected, wire_server, tool, kind):
    connected.ui.toolComboBox.setCurrentIndex(tool)
    connected.press("C")
    view = connected.host.slice_view("Red")
    view.jump_to(connected.ras((26, 8, 11)))
    view.pointer.drag([view.pixel_of(connected.ras(place)) for place in ((20, 8, 11), (32, 8, 11), (32, 20, 11))])
    connected.answered()
    (asked,) = [body for path, body in wire_server.bodies if path.endswith("/condition")]
    ((only,),) = (asked[kind],)
    assert list(asked) == [kind]
    assert only["structure"] == "organ"
    assert connected.clicks.count == 1
    assert connected.session.state.corrections == asked
    connected.press("Z")
    assert connected.clicks.count == 0
    assert connected.session.state.result.key == "k3y"
    connected.press("Y")
    assert connected.clicks.count == 1
    assert connected.session.state.corrections == asked


@pytest.mark.parametrize(
    ("tool", "places", "said"),
    [
        (0, [(-4, 20, 11)], "The click was taken away: it is outside the scan."),
        (1, [(-8, 20, 11), (-4, 20, 11)], "The scribble was taken away: it is outside the scan."),
        (2, [(26, 20, 11), (27, 20, 11)], "The lasso was taken away: no voxel of the scan is in it."),
        (2, [(-9, 10, 11), (-4, 10, 11), (-4, 25, 11)], "The lasso was taken away: no voxel of the scan is in it."),
        (3, [(26, 20, 11)], "The box was taken away: no voxel of the scan is in it."),
        (3, [(-9, 10, 11), (-4, 25, 11)], "The box was taken away: no voxel of the scan is in it."),
    ],
)
def test_what_is_drawn_around_no_voxel_does_not_stay(connected, wire_server, tool, places, said):
    connected.ui.toolComboBox.setCurrentIndex(tool)
    connected.press("C")
    view = connected.host.slice_view("Red")
    view.fit()
    view.jump_to(connected.ras((26, 20, 11)))
    pixels = [view.pixel_of(connected.ras(place)) for place in places]
    (view.pointer.drag if tool else lambda points: view.pointer.click(points[0]))(pixels)
    assert connected.session.state.message == said
    assert (connected.clicks.count, connected.session.history.last) == (0, "")
    markups = slicer.util.getNodesByClass("vtkMRMLMarkupsNode")
    marks = [node for node in markups if node.GetAttribute("UncertaintySeg.LabelId")]
    assert all(node.IsA("vtkMRMLMarkupsFiducialNode") and not node.GetNumberOfDefinedControlPoints() for node in marks)
    connected.ui.toolComboBox.setCurrentIndex(0)
    connected.place((26, 8, 11))
    connected.answered()
    assert connected.clicks.count == 1
    assert not [path for path, asked in wire_server.bodies if path.endswith("/condition") and len(asked) != 1]


def test_a_server_that_is_gone_keeps_the_click_and_says_so(reviewer):
    reviewer.session.url = "http://127.0.0.1:9"
    reviewer.press("C")
    reviewer.place((26, 8, 11))
    reviewer.answered(40)
    assert reviewer.ui.clickHintLabel.text.startswith("The click had no effect yet:")
    assert reviewer.clicks.count == 1
    assert reviewer.session.state.result.key == "k3y"


def test_slicers_own_way_out_of_the_mode_is_seen(reviewer):
    reviewer.press("C")
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SwitchToViewTransformMode()
    assert not reviewer.ui.clickButton.isChecked()


def test_leaving_the_module_gives_the_mouse_back(reviewer):
    reviewer.press("C")
    reviewer.panel.exit()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform


def test_that_clicks_only_paint_is_said_before_the_first_one(reviewer, show_result):
    regions = reviewer.session.state.result.regions
    show_result(regions=regions, provenance={"model": "body_total", "head": "deterministic"})
    reviewer.click(reviewer.ui.clickButton)
    assert "clicks only paint" in reviewer.ui.clickHintLabel.text
    assert "uncertaintyseg train body_total DATA --head laplace" in reviewer.ui.clickHintLabel.text
    reviewer.click(reviewer.ui.clickButton)
    show_result(regions=regions, provenance={"model": "body_low_rank", "head": "low_rank"})
    reviewer.click(reviewer.ui.clickButton)
    assert "paint" not in reviewer.ui.clickHintLabel.text
