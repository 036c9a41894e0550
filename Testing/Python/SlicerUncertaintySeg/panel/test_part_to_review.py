"""The part to review in the views, as fill, outline and surface: it follows the slider and leaves the rest alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.conftest import riskiest_place
from UncertaintySegLib.panel.selection_section import SelectionSection


@pytest.fixture
def section(open_panel):
    return open_panel(SelectionSection).sections["Selection"]


@pytest.fixture
def views(host):
    return [host.slice_view(name) for name in ("Red", "Yellow", "Green")]


def click(button):
    from PySide6 import QtCore, QtTest

    QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)


def is_marked(image: np.ndarray) -> np.ndarray:
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return (blue - red > 80) & (blue - green > 80)


def look(views, position):
    for view in views:
        view.fit()
        view.jump_to(position)


def test_the_part_to_review_follows_the_slider_in_every_slice_view(section, show_result, session, views):
    show_result()
    session.scene.show_map(None)
    session.scene.segmentation.GetDisplayNode().SetVisibility(False)
    look(views, riskiest_place(session.scene))
    section.ui.overlayOpacitySlider.setValue(1.0)
    assert not any(is_marked(view.image()).any() for view in views)
    click(section.ui.fillCheckBox)
    shares = []
    for threshold in (0.05, 0.4, 0.9):
        section.ui.reviewThresholdSlider.setValue(threshold)
        shares.append([is_marked(view.image()).mean() for view in views])
    assert (np.diff(shares, axis=0) < 0).all()
    assert min(shares[-1]) > 0
    click(section.ui.fillCheckBox)
    assert not any(is_marked(view.image()).any() for view in views)


def test_it_stays_in_the_views_when_a_segment_editor_gets_its_segmentation(open_panel, show_result, session, views):
    """As it comes with a result: Slicer's Segment Editor then takes the label layer away from every slice view."""
    from UncertaintySegLib.panel.edit_section import EditSection

    panel = open_panel(SelectionSection, EditSection)
    show_result()
    look(views, riskiest_place(session.scene))
    session.scene.show_map(None)
    ui = panel.sections["Selection"].ui
    ui.overlayOpacitySlider.setValue(1.0)
    click(ui.fillCheckBox)
    shares = [is_marked(view.image()).mean() for view in views]
    assert min(shares) > 0
    editor = panel.sections["Edit"].editor
    editor.setSegmentationNode(None)
    editor.setSegmentationNode(session.scene.segmentation)
    assert [is_marked(view.image()).mean() for view in views] == shares
    show_result()
    session.scene.show_map(None)
    assert min(is_marked(view.image()).mean() for view in views) > 0


def test_outlines_of_structures_stay_visible_over_it(section, show_result, session, views):
    show_result()
    session.scene.show_map(None)
    look(views, riskiest_place(session.scene))
    section.ui.overlayOpacitySlider.setValue(1.0)
    section.ui.reviewThresholdSlider.setValue(0.05)

    def outlined() -> int:
        colors = 255 * np.array(list(session.scene.structure_colors().values()))
        image = views[0].image().astype(int)
        return sum((np.abs(image - color).sum(axis=-1) < 30).sum() for color in colors)

    before = outlined()
    assert before > 100
    for _time in range(2):
        click(section.ui.fillCheckBox)
        assert is_marked(views[0].image()).sum() > 1000
        assert outlined() > 0.95 * before
        click(section.ui.fillCheckBox)
        show_result()
        session.scene.show_map(None)
        look(views, riskiest_place(session.scene))


def test_the_risk_map_stays_beside_it(section, show_result, session, host):
    show_result()
    click(section.ui.fillCheckBox)
    composite = host.slice_view("Red").composite_node
    assert composite.GetForegroundVolumeID() == session.scene.maps["error_probability"].GetID()
    display = section.logic.overlay.segmentation.GetDisplayNode()
    assert display.GetVisibility()
    section.ui.overlayOpacitySlider.setValue(0.25)
    assert display.GetOpacity2DFill() == pytest.approx(0.25)
    section.ui.colorComboBox.setCurrentIndex(2)
    assert section.logic.overlay.color == (1.0, 1.0, 1.0)


def test_the_surface_follows_when_the_slider_rests(section, show_result, views):
    from slicer_host import desktop

    show_result()
    click(section.ui.outlineCheckBox)
    click(section.ui.solidCheckBox)
    model = section.logic.overlay.surface
    before = model.GetPolyData()
    assert before.GetNumberOfCells() > 100
    section.ui.reviewThresholdSlider.setValue(0.8)
    assert model.GetPolyData() is before
    desktop.wait_until(lambda: model.GetPolyData() is not before)
    bounds = model.GetPolyData().GetBounds()
    assert 0 < bounds[1] - bounds[0] < 48


def test_it_goes_with_the_case(section, show_result, session, host):
    show_result()
    click(section.ui.fillCheckBox)
    click(section.ui.solidCheckBox)
    session.close_case()
    for class_name in ("vtkMRMLModelNode", "vtkMRMLPlotChartNode", "vtkMRMLTableNode", "vtkMRMLPlotSeriesNode"):
        mine = [
            host.scene.GetNthNodeByClass(i, class_name) for i in range(host.scene.GetNumberOfNodesByClass(class_name))
        ]
        assert not [node for node in mine if node.GetAttribute("UncertaintySeg.Case")]
    assert host.scene.GetFirstNodeByName("phantom_1 to review") is None
    assert section.ui.sentenceLabel.text.startswith("Run a model first")


def test_the_next_case_takes_its_place_in_the_views(section, show_result, session, host, phantom_case):
    show_result()
    click(section.ui.fillCheckBox)
    first = section.logic.overlay.segmentation
    show_result()
    assert section.ui.fillCheckBox.checked
    assert first.GetScene() is None
    assert section.logic.overlay.is_shown
    session.open_case(session.state.sample, phantom_case.scan)
    assert not section.logic.overlay.is_shown


def test_nodes_that_somebody_deleted_are_made_anew(section, show_result, host):
    show_result()
    click(section.ui.fillCheckBox)
    click(section.ui.solidCheckBox)
    host.scene.RemoveNode(section.logic.overlay.segmentation)
    host.scene.RemoveNode(section.logic.overlay.surface)
    host.scene.RemoveNode(section.logic.plot.node)
    section.ui.reviewThresholdSlider.setValue(0.5)
    section.logic.rest()
    click(section.ui.fillCheckBox)
    click(section.ui.fillCheckBox)
    assert section.logic.overlay.is_shown


def test_a_result_without_that_map_is_said(section, show_result, session, phantom_case):
    result = show_result()
    session.show_result(dataclasses.replace(result, maps={}), phantom_case.label, {})
    click(section.ui.fillCheckBox)
    assert "no map of its error probability" in session.state.message
    assert session.state.is_error


def test_the_map_is_fetched_when_it_is_first_needed(section, show_result, session, wire_server, host):
    from slicer_host import desktop

    session.url = wire_server.url
    show_result(with_map=False)
    section.ui.reviewThresholdSlider.setValue(0.3)
    assert wire_server.count("GET", "/uncertainty/v1/results/k3y/maps") == 0
    click(section.ui.fillCheckBox)
    click(section.ui.outlineCheckBox)
    assert section.ui.overlayHintLabel.text == "Fetching the map of the error probability..."
    assert not section.ui.overlayHintLabel.isHidden()
    desktop.wait_until(lambda: section.logic.overlay.is_shown)
    assert wire_server.count("GET", "/uncertainty/v1/results/k3y/maps") == 1
    assert section.ui.overlayHintLabel.isHidden()
    assert section.logic.overlay.surface.GetPolyData().GetNumberOfCells() > 100


def test_a_map_that_does_not_come_is_said_and_the_boxes_show_it(section, show_result, session, wire_server):
    from slicer_host import desktop

    session.url = wire_server.url
    wire_server.refusals["/uncertainty/v1/results"] = (404, b'{"detail": "The result is gone: run the model again."}')
    show_result(with_map=False)
    click(section.ui.fillCheckBox)
    desktop.wait_until(lambda: session.state.is_error)
    assert "run the model again" in session.state.message
    assert not section.ui.fillCheckBox.checked
