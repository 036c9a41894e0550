"""The whole module for somebody who looks and does not edit."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg import wire_answers
from UncertaintySegLib.scene import layouts


def headings(user) -> list[str]:
    """Return the sections that are shown, from top to bottom."""
    shown = [section.button for section in user.panel.sections.values() if section.button.isVisible()]
    return [button.text.split(":")[0] for button in sorted(shown, key=lambda button: button.y)]


def look_only(user, checked: bool) -> None:
    user.ui("Report").readOnlyCheckBox.click()
    assert user.state.read_only == checked
    user.desktop.process_events()


def test_a_reader_sees_the_risk_volume_and_the_table_first_and_nothing_to_edit(user, wire_server, tmp_path):
    usual = headings(user)
    user.begin(wire_server.url)
    look_only(user, True)
    user.desktop.process_events()
    assert headings(user)[3:5] == ["Report", "Risk"]
    assert set(usual) - set(headings(user)) == {"Edit and submit"}
    report, risk = (user.panel.sections[name] for name in ("Report", "Risk"))
    assert not report.button.collapsed
    assert not risk.button.collapsed
    assert user.panel.ui.summaryLabel.text.endswith("; nothing is promised: Never calibrated.")
    controls = (risk.ui.mapComboBox, risk.ui.annotatorLayoutButton, risk.ui.sourceLabel)
    assert all(risk.ui.structuresTable.y < widget.y for widget in controls)
    assert slicer.app.layoutManager().layout == layouts.RADIOLOGIST
    assert risk.ui.glowCheckBox.checked
    assert slicer.util.getNodesByClass("vtkMRMLVolumeRenderingDisplayNode")
    assert not [node for node in slicer.util.getNodesByClass("vtkMRMLPlotViewNode") if node.IsMappedInLayout()]
    assert user.ui("Selection").uncalibratedReasonLabel.text == "Never calibrated"
    assert user.ui("Selection").curveLabel.isHidden()
    user.desktop.screenshot(tmp_path / "reading.png")
    look_only(user, False)
    assert headings(user) == usual
    assert risk.ui.structuresTable.y > risk.ui.sourceLabel.y
    assert not risk.ui.glowCheckBox.checked


@pytest.mark.parametrize("chosen", [None, "annotatorLayoutButton"])
def test_the_layout_from_before_comes_back(user, wire_server, chosen):
    own = slicer.app.layoutManager().layout
    if chosen:
        user.press("Risk", chosen)
    look_only(user, True)
    assert user.ui("Risk").radiologistLayoutButton.checked
    look_only(user, False)
    assert slicer.app.layoutManager().layout == (layouts.ANNOTATOR if chosen else own)


def test_a_layout_that_the_reader_chose_stays(user):
    look_only(user, True)
    user.press("Risk", "compareLayoutButton")
    look_only(user, False)
    assert slicer.app.layoutManager().layout == layouts.COMPARE


def test_who_looked_only_the_last_time_begins_so(user, wire_server):
    look_only(user, True)
    user.module.close()
    again = user.desktop.load_module(user.module.python.__file__)
    try:
        assert slicer.app.layoutManager().layout == layouts.RADIOLOGIST
        assert again.widget.panel.sections["Report"].ui.readOnlyCheckBox.checked
        assert not again.widget.panel.sections["Edit"].button.isVisible()
    finally:
        again.close()


def test_the_plot_is_there_where_something_is_calibrated(user, wire_server):
    wire_server.job_result = wire_answers.calibrated(wire_server.job_result)
    look_only(user, True)
    user.begin(wire_server.url)
    assert slicer.app.layoutManager().layout == layouts.RADIOLOGIST_PLOT
    assert user.ui("Risk").radiologistLayoutButton.checked
    (view,) = (node for node in slicer.util.getNodesByClass("vtkMRMLPlotViewNode") if node.IsMappedInLayout())
    chart = slicer.mrmlScene.GetNodeByID(view.GetPlotChartNodeID())
    assert chart.GetXAxisRange() == pytest.approx((90.0, 100.0))
    assert "; promised: at most 5 % of the true volume stays wrong" in user.panel.ui.summaryLabel.text


def test_3d_is_framed_on_the_structure_that_comes_first_or_was_chosen(user, wire_server, host):
    job_result = wire_server.job_result
    job_result["risk"]["structures"][1]["expected_error_ml"] = 0.3
    wire_server.job_result = job_result
    look_only(user, True)
    user.begin(wire_server.url)
    user.desktop.process_events()

    def looks_at() -> np.ndarray:
        (view,) = (node for node in slicer.util.getNodesByClass("vtkMRMLViewNode") if node.IsMappedInLayout())
        camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view)
        return np.array(camera.GetFocalPoint())

    def middle(label_id: int) -> np.ndarray:
        ijk = np.argwhere(user.drawn() == label_id)
        return np.mean([user.ras(ijk.min(axis=0)), user.ras(ijk.max(axis=0))], axis=0)

    assert looks_at() == pytest.approx(middle(2), abs=0.01)
    user.ui("Risk").structureComboBox.setCurrentIndex(1)
    assert looks_at() == pytest.approx(middle(1), abs=0.01)


def test_the_flip_book_says_that_it_is_from_before_the_clicks(user, wire_server):
    user.begin(wire_server.url)
    risk = user.ui("Risk")
    user.press("Risk", "shapesButton")
    assert user.panel.sections["Risk"].plausible.logic.book.count
    assert risk.shapesHintLabel.isHidden()
    user.key("C")
    user.click_at((26, 20, 11))
    user.wait()
    assert user.state.corrections
    assert risk.shapesHintLabel.isVisible()
    assert "before your clicks" in risk.shapesHintLabel.text
