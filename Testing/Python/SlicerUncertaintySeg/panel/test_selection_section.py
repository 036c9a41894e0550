"""The sliders, the sentence, the promise and the plot, driven as a person drives them."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs, urlsplit

import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.review_curve import GUARANTEE, POINTS
from UncertaintySegLib.logic.report import selection_of
from UncertaintySegLib.logic.risk import measures
from UncertaintySegLib.panel.selection_section import SelectionSection


@pytest.fixture
def panel(open_panel):
    return open_panel(SelectionSection)


@pytest.fixture
def section(panel):
    return panel.sections["Selection"]


def click(button):
    from PySide6 import QtCore, QtTest

    QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)


def test_before_a_result_it_says_what_to_do(section):
    ui = section.ui
    assert ui.sentenceLabel.text.startswith("Run a model first")
    for widget in (ui.coverageSlider, ui.errorSlider, ui.reviewThresholdSlider, ui.guaranteeButton, ui.overlayGroup):
        assert not widget.enabled
    assert ui.curveLabel.isHidden()
    assert ui.uncalibratedLabel.isHidden()


def test_the_sliders_start_at_the_guarantee_and_span_the_curve(section, show_result):
    show_result()
    ui = section.ui
    assert (ui.coverageSlider.minimum, ui.coverageSlider.maximum) == (96.0, 100.0)
    assert (ui.errorSlider.minimum, ui.errorSlider.maximum) == (0.4, 8.0)
    assert (ui.reviewThresholdSlider.minimum, ui.reviewThresholdSlider.maximum) == (0.05, 0.9)
    assert (ui.coverageSlider.value, ui.errorSlider.value, ui.reviewThresholdSlider.value) == (98.0, 1.2, 0.2)
    assert "(2.00 mL, 7 regions): expected remaining error 1.2 %" in ui.sentenceLabel.text
    assert ui.promiseLabel.text == f"Guarantee: {GUARANTEE.text}"


def test_each_slider_moves_the_other_two(section, show_result):
    show_result()
    ui = section.ui
    ui.coverageSlider.setValue(99.0)
    assert (ui.errorSlider.value, ui.reviewThresholdSlider.value) == (3.0, 0.4)
    ui.errorSlider.setValue(0.4)
    assert (ui.coverageSlider.value, ui.reviewThresholdSlider.value) == (96.0, 0.05)
    ui.reviewThresholdSlider.setValue(0.3)
    assert (ui.coverageSlider.value, ui.errorSlider.value) == (98.5, 2.1)
    assert ui.promiseLabel.text.startswith("Not guaranteed here. Guaranteed at a threshold of 0.2: If")
    click(ui.guaranteeButton)
    assert ui.reviewThresholdSlider.value == 0.2
    assert ui.footnoteLabel.isHidden()


def test_another_bound_is_promised_for_the_asking(section, show_result, session, wire_server):
    from slicer_host import desktop

    session.url = wire_server.url
    ui, logic = section.ui, section.logic
    assert not ui.askButton.enabled
    show_result()
    assert (ui.alphaSpinBox.value, ui.confidenceSpinBox.value, ui.confidenceSpinBox.text) == (5.0, 0.0, "on average")
    ui.alphaSpinBox.setValue(10.0)
    ui.confidenceSpinBox.setValue(90.0)
    assert ui.reviewThresholdSlider.value == 0.2
    click(ui.askButton)
    assert not ui.askButton.enabled
    desktop.wait_until(lambda: not logic.asking)
    query = {"alpha": "0.1", "delta": "0.1"}
    assert parse_qs(urlsplit(wire_server.requests[-1][1]).query) == {name: [value] for name, value in query.items()}
    assert ui.promiseLabel.text == "Guarantee: If it is reviewed, at most 10 % stays wrong."
    assert (ui.alphaSpinBox.value, ui.confidenceSpinBox.value) == (10.0, 90.0)
    assert (ui.reviewThresholdSlider.value, ui.coverageSlider.value, ui.errorSlider.value) == (0.4, 99.0, 3.0)
    assert selection_of(session).guarantee.delta == 0.1
    ui.reviewThresholdSlider.setValue(0.3)
    ui.alphaSpinBox.setValue(5.0)
    ui.confidenceSpinBox.setValue(0.0)
    click(ui.askButton)
    desktop.wait_until(lambda: not logic.asking)
    assert (ui.reviewThresholdSlider.value, ui.confidenceSpinBox.text) == (0.3, "on average")
    assert ui.promiseLabel.text.startswith("Not guaranteed here. Guaranteed at a threshold of 0.2: If it is")


def test_a_bound_that_was_asked_for_is_asked_of_the_next_case_as_well(section, show_result, session, wire_server):
    from slicer_host import desktop

    session.url = wire_server.url
    show_result()
    section.ui.alphaSpinBox.setValue(20.0)
    click(section.ui.askButton)
    desktop.wait_until(lambda: not section.logic.asking)
    show_result(key="n3xt")
    assert section.logic.asking
    desktop.wait_until(lambda: not section.logic.asking)
    assert wire_server.requests[-1][1].startswith("/uncertainty/v1/results/n3xt/guarantee")
    assert section.ui.promiseLabel.text == "Guarantee: If it is reviewed, at most 20 % stays wrong."
    assert section.ui.reviewThresholdSlider.value == pytest.approx(0.8)
    show_result(key="p1cked")
    desktop.wait_until(lambda: not section.logic.asking)
    assert section.ui.uncalibratedReasonLabel.text == "This case was picked for its risk"
    show_result(key="cl1cked", risk_coverage=POINTS.uncalibrated, guarantee=None, guarantee_reason="why")
    assert not section.logic.asking
    assert not section.ui.askButton.enabled


def test_a_bound_out_of_reach_is_refused_and_the_promise_stays(section, show_result, session, wire_server):
    from slicer_host import desktop

    session.url = wire_server.url
    refusal = b'{"detail": "at most 1 % cannot be promised with 40 calibration cases: it would take 99 or more"}'
    wire_server.refusals["/uncertainty/v1/results/k3y/guarantee"] = (400, refusal)
    show_result()
    section.ui.alphaSpinBox.setValue(1.0)
    click(section.ui.askButton)
    desktop.wait_until(lambda: session.state.is_error)
    assert "it would take 99 or more" in session.state.message
    assert section.ui.promiseLabel.text == f"Guarantee: {GUARANTEE.text}"
    assert section.ui.alphaSpinBox.value == 5.0
    show_result(key="n3xt")
    assert not section.logic.asking


def test_slider_curve_and_legend_say_which_map_drives(section, show_result, session, phantom_case, host):
    legend_of = slicer.modules.colors.logic().GetColorLegendDisplayNode
    show_result()
    session.scene.show_map("error_probability")
    legend = legend_of(session.scene.maps["error_probability"])
    assert legend.GetTitleText() == "Error\nprobability"
    assert section.ui.footnoteLabel.isHidden()
    result = show_result(driven_by="ranking")
    assert section.ui.footnoteLabel.text == "Voxels are ranked by: learned ranking of errors."
    assert not section.ui.footnoteLabel.isHidden()
    assert section.ui.reviewThresholdSlider.toolTip.endswith("Voxels are ranked by: learned ranking of errors.")
    assert section.logic.plot.node.GetTitle() == "What a review leaves wrong (learned ranking of errors)"
    info = dataclasses.replace(result.maps["error_probability"], driven_by="ranking")
    session.scene.add_map("error_probability", session.scene.file_of(info), info, {})
    legend = legend_of(session.scene.maps["error_probability"])
    assert legend.GetTitleText() == "Error\nprobability,\nby\nlearned\nranking\nof\nerrors"
    session.state.result = dataclasses.replace(result, maps={"error_probability": info})
    names = [measure.title for measure in measures(session.state)]
    assert names == ["Error probability, by learned ranking of errors"]
    section.ui.reviewThresholdSlider.setValue(0.3)
    assert section.ui.footnoteLabel.text.endswith("errors. Volume and regions are those at threshold 0.2.")
    show_result()
    assert section.ui.footnoteLabel.isHidden()
    assert "ranked by" not in section.ui.reviewThresholdSlider.toolTip


@pytest.mark.parametrize(("lowest", "decimals"), [(0.8, 2), (0.9998, 4)])
def test_a_slider_shows_as_many_decimals_as_its_steps_need(section, show_result, lowest, decimals):
    points = [dataclasses.replace(POINTS.uncalibrated[n], coverage=c) for n, c in ((0, lowest), (-1, 1.0))]
    show_result(risk_coverage=tuple(points), guarantee=None, guarantee_reason="why")
    assert section.ui.coverageSlider.decimals == decimals
    assert section.ui.reviewThresholdSlider.decimals == 3


def test_uncalibrated_is_said_large_and_why(section, show_result):
    show_result(risk_coverage=POINTS.uncalibrated, guarantee=None, guarantee_reason="Never calibrated: run calibrate.")
    ui = section.ui
    assert not ui.uncalibratedLabel.isHidden()
    assert ui.uncalibratedReasonLabel.text == "Never calibrated: run calibrate."
    assert not ui.errorSlider.enabled
    assert ui.errorSlider.isHidden()
    assert ui.errorUnknownLabel.text == "not known"
    assert not ui.guaranteeButton.enabled
    ui.reviewThresholdSlider.setValue(0.05)
    assert ui.coverageSlider.value == 96.0
    assert ui.sentenceLabel.text == "Review 4 % of the voxels (4.00 mL, 12 regions)."


def test_what_the_reviewer_chose_is_told_to_the_other_sections(section, show_result, session):
    from slicer_host import desktop

    show_result()
    assert session.state.review_threshold is None
    heard = []
    session.threshold_rested.connect(lambda: heard.append(session.state.review_threshold))
    for threshold in (0.3, 0.35, 0.4):
        section.ui.reviewThresholdSlider.setValue(threshold)
    assert heard == []
    desktop.wait_until(lambda: heard)
    assert heard == [0.4]
    session.close_case()
    assert session.state.review_threshold is None


def test_the_plot_has_curve_interval_promise_and_working_point(section, show_result, host):
    show_result()
    chart = section.logic.plot.node
    series = [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [node.GetName() for node in series] == [
        "95 % interval, low",
        "95 % interval, high",
        "Curve",
        "Guaranteed",
        "Working point",
    ]
    assert chart.GetYAxisTitle() == "Expected error (% of the true volume)"
    section.ui.coverageSlider.setValue(99.0)
    table = series[-1].GetTableNode().GetTable()
    assert [table.GetColumn(column).GetValue(0) for column in (0, 1)] == pytest.approx([99.0, 3.0])
    view = host.scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    click(section.ui.plotButton)
    assert view.GetPlotChartNodeID() == chart.GetID()


def test_keys_step_along_the_curve(section, show_result):
    show_result()
    section.step(1)
    assert section.logic.selection.point.threshold == pytest.approx(0.2085)
    section.step(-1)
    assert section.ui.reviewThresholdSlider.value == pytest.approx(0.2)


def test_the_curve_fits_a_panel_of_another_width(panel, section, show_result):
    from slicer_host import desktop

    show_result()
    for width in (380, 520):
        panel.widget.resize(width, 900)
        desktop.process_events()
        panel.refresh()
        label = section.ui.curveLabel
        assert label.pixmap.width() / label.pixmap.devicePixelRatio() == label.width > width - 60


@pytest.mark.parametrize("look", ["calibrated", "uncalibrated"])
def test_nothing_is_cut_off_at_380_pixels(panel, section, show_result, look, tmp_path):
    reason = "These weights were never calibrated: run 'uncertaintyseg calibrate' with at least 20 cases."
    show_result(**({} if look == "calibrated" else {"guarantee": None, "guarantee_reason": reason}))
    import qt

    qt.QApplication.processEvents()
    panel.refresh()
    qt.QApplication.processEvents()
    assert panel.widget.grab().save(str(tmp_path / f"{look}.png"))
    ui = section.ui
    for field in (ui.alphaSpinBox, ui.confidenceSpinBox):
        assert field.width >= field.sizeHint().width()
    for widget in (ui.guaranteeButton, ui.plotButton, ui.askButton, ui.fillCheckBox, ui.coverageLabel, ui.errorLabel):
        assert widget.width >= widget.fontMetrics().horizontalAdvance(widget.text)
    assert panel.widget.width == 380
