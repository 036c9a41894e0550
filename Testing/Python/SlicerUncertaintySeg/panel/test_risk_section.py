"""Seeing the risk, driven as a person drives it: boxes, sliders, keys."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg import wire_answers as wire
from Testing.Python.SlicerUncertaintySeg.panel.risk_user import User
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.scene import layouts, masks, nodes
from UncertaintySegLib.server.results import MapInfo, parse_result

URL = "/uncertainty/v1/results/k3y/maps/{}.nii.gz"
VIEWS = ("Red", "Yellow", "Green")


def maps(*names: str) -> dict[str, MapInfo]:
    source = {"mutual_information": "epistemic", "expected_entropy": "aleatoric"}
    unit = {"mutual_information": "nats", "expected_entropy": "nats", "predictive_entropy": "nats"}
    return {
        name: MapInfo(URL.format(name), unit.get(name, "1"), (0.0, 1.0), source.get(name, "total")) for name in names
    }


ALL = maps(
    "predictive_entropy",
    "probability_organ",
    "mutual_information",
    "variance_lesion",
    "expected_entropy",
    "error_probability",
    "variance_organ",
    "probability_lesion",
)


@pytest.fixture
def user(open_panel, host, wire_server, session):
    from slicer_host import desktop

    for name in VIEWS:
        host.slice_view(name)
    session.url = wire_server.url
    user = User(desktop, open_panel(RiskSection))
    yield user
    user.section.close()


@pytest.fixture
def result(user, session, phantom_case, error_probability_file):
    """The phantom, segmented, its error probability over the scan."""
    from UncertaintySegLib.server.replies import Sample

    parsed = parse_result(wire.result("k3y", [vars(label) for label in phantom_case.labels], []))
    parsed = dataclasses.replace(parsed, maps=ALL)
    session.open_case(Sample(phantom_case.name), phantom_case.scan)
    session.show_result(parsed, phantom_case.label, {"error_probability": error_probability_file})
    user.desktop.process_events()
    return parsed


def foreground(host, view: str = "Red"):
    return host.scene.GetNodeByID(host.slice_view(view).composite_node.GetForegroundVolumeID() or "")


def test_before_a_result_nothing_can_be_moved(user, tmp_path):
    ui = user.ui
    widgets = (ui.mapComboBox, ui.thresholdSlider, ui.structureComboBox, ui.whereComboBox, ui.shapesButton)
    for widget in (*widgets, ui.playButton, ui.boundaryCheckBox, ui.surfaceCheckBox):
        assert not widget.enabled
    assert ui.sourceLabel.text == ""
    user.picture(tmp_path / "empty.png")


def test_what_the_server_remarks_on_a_map_stands_below_it(user, result, session):
    remark = "0 everywhere: this model gives one answer, which nothing can disagree with."
    remarked = {name: dataclasses.replace(info, description=remark) for name, info in ALL.items()}
    session.show_result(dataclasses.replace(result, maps=remarked), None, {}, base=result)
    assert user.ui.sourceLabel.text.endswith(f"weights ab12cd. {remark}")


def test_maps_that_the_result_leaves_out_are_named_where_maps_are_chosen(user, result, session, tmp_path):
    assert not user.ui.omittedLabel.isVisible()
    reason = "carried up to 16 classes, or for structures named in the request"
    less = dataclasses.replace(result, omitted={"variance_<structure>": reason})
    session.show_result(less, None, {}, base=result)
    assert user.ui.omittedLabel.isVisible()
    assert user.ui.omittedLabel.text == f"Not for every structure. Variance of structure: {reason}."
    user.picture(tmp_path / "omitted.png")
    session.close_case()
    assert not user.ui.omittedLabel.isVisible()


def test_maps_are_listed_by_what_they_say_and_one_entry_stands_for_all_structures(user, result):
    combo_box = user.ui.mapComboBox
    assert [combo_box.itemText(index) for index in range(combo_box.count)] == [
        "none",
        "Error probability, total",
        "Predictive entropy (nats), total",
        "Expected entropy (nats), aleatoric",
        "Mutual information (nats), epistemic",
        "Probability of structure",
        "Variance of structure",
    ]
    assert combo_box.currentText == "Error probability, total"
    assert user.ui.sourceLabel.text.startswith("Total uncertainty, 0 to 1. Model phantom_low_rank, head low_rank")


def test_where_all_maps_have_one_source_it_is_said_once(user, result, session):
    session.show_result(dataclasses.replace(result, maps=maps("error_probability", "margin_risk")), None, {})
    combo_box = user.ui.mapComboBox
    assert [combo_box.itemText(index) for index in range(combo_box.count)] == [
        "none",
        "Error probability",
        "Margin risk",
    ]


def test_a_map_is_fetched_when_it_is_chosen_and_only_once(user, result, wire_server, host, tmp_path):
    fetched = URL.format("mutual_information")
    assert wire_server.count("GET", fetched) == 0
    user.choose(user.ui.mapComboBox, "Mutual information (nats), epistemic")
    assert user.ui.sourceLabel.text == "Fetching the map..."
    user.wait()
    assert user.scene.shown == "mutual_information"
    assert user.ui.sourceLabel.text.startswith("Epistemic uncertainty, 0 to 1 nats.")
    user.choose(user.ui.mapComboBox, "Error probability, total")
    user.choose(user.ui.mapComboBox, "Mutual information (nats), epistemic")
    user.wait()
    assert wire_server.count("GET", fetched) == 1
    assert foreground(host).GetAttribute("UncertaintySeg.Source") == "epistemic"
    user.picture(tmp_path / "result.png")


def test_no_map_and_back_keeps_threshold_and_key_hides_it_for_a_moment(user, result, host):
    user.ui.thresholdSlider.setValue(0.37)
    user.choose(user.ui.mapComboBox, "none")
    assert foreground(host) is None
    assert not user.ui.thresholdSlider.enabled
    user.choose(user.ui.mapComboBox, "Error probability, total")
    assert user.ui.thresholdSlider.value == pytest.approx(0.37)
    user.section.logic.toggle_map()
    assert foreground(host) is None
    assert not user.ui.mapCheckBox.checked
    assert user.scene.shown == "error_probability"
    user.click(user.ui.mapCheckBox)
    assert foreground(host) is not None


def test_the_sliders_change_what_is_drawn_and_no_voxel(user, result, host):
    volume = user.scene.maps["error_probability"]
    image = volume.GetImageData()
    modified = image.GetMTime()
    slider = user.ui.thresholdSlider
    assert (slider.minimum, slider.maximum) == (0.0, user.scene.maximum("error_probability"))
    slider.setValue(0.5)
    assert user.scene.threshold("error_probability") == pytest.approx(0.5)
    user.ui.opacitySlider.setValue(0.25)
    assert host.slice_view("Green").composite_node.GetForegroundOpacity() == pytest.approx(0.25)
    assert image.GetMTime() == modified


def test_colours_and_legend_are_chosen(user, result, host):
    display = user.scene.maps["error_probability"].GetScalarVolumeDisplayNode()
    user.choose(user.ui.scaleComboBox, "Grey")
    assert display.GetColorNode().GetName() == "Uncertainty grey"
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(user.scene.maps["error_probability"])
    assert not legend.GetVisibility(), "it would cover the scan"
    assert user.ui.legendLabel.isVisible()
    user.ui.legendCheckBox.setChecked(True)
    assert legend.GetVisibility()


def test_maps_of_one_structure_follow_the_structure(user, result, host, tmp_path):
    user.choose(user.ui.mapComboBox, "Probability of structure")
    user.wait()
    assert user.ui.structureComboBox.currentText == "1  organ"
    assert user.scene.shown == "probability_organ"
    user.choose(user.ui.structureComboBox, "2  lesion")
    user.wait()
    assert user.scene.shown == "probability_lesion"
    user.choose(user.ui.structureComboBox, "1  organ")
    assert user.scene.shown == "probability_organ"


def test_risk_is_shown_only_near_the_structure(user, result, host):
    whole = slicer.util.arrayFromVolume(user.scene.maps["error_probability"])
    assert not user.ui.whereComboBox.enabled
    user.choose(user.ui.structureComboBox, "2  lesion")
    user.choose(user.ui.whereComboBox, "inside the structure")
    lesion = masks.structure_mask(user.scene.segmentation, 2, user.scene.scan)
    drawn = slicer.util.arrayFromVolume(foreground(host))
    np.testing.assert_array_equal(drawn, np.where(lesion, whole, 0))
    user.choose(user.ui.whereComboBox, "inside and around it")
    near = slicer.util.arrayFromVolume(foreground(host)) > 0
    user.ui.reachSpinBox.setValue(1.5)
    user.desktop.wait_until(lambda: (slicer.util.arrayFromVolume(foreground(host)) > 0).sum() < near.sum())
    user.choose(user.ui.whereComboBox, "everywhere")
    assert foreground(host).GetID() == user.scene.maps["error_probability"].GetID()


def test_the_boundary_is_outlined_between_two_levels_with_its_volumes(user, result, host, tmp_path):
    assert not user.ui.boundaryCheckBox.enabled
    user.choose(user.ui.structureComboBox, "1  organ")
    user.click(user.ui.boundaryCheckBox)
    user.wait()
    (outlines,) = nodes.marked(host.scene, "boundaries")
    assert outlines.GetSegmentation().GetNumberOfSegments() == 2
    assert outlines.GetHideFromEditors()
    assert not outlines.GetSaveWithScene()
    before = user.ui.boundaryVolumeLabel.text
    assert " to " in before
    user.ui.lowLevelSpinBox.setValue(30)
    assert user.ui.boundaryVolumeLabel.text != before
    user.picture(tmp_path / "boundary.png")
    user.choose(user.ui.structureComboBox, "all structures")
    assert nodes.marked(host.scene, "boundaries") == []


def test_surface_and_glow_come_and_go_in_3d(user, result, host):
    user.click(user.ui.surfaceCheckBox)
    (surface,) = nodes.marked(host.scene, "risk surface")
    both = surface.GetPolyData().GetNumberOfPoints()
    user.choose(user.ui.structureComboBox, "2  lesion")
    assert 0 < surface.GetPolyData().GetNumberOfPoints() < both
    user.click(user.ui.glowCheckBox)
    display = slicer.modules.volumerendering.logic().GetFirstVolumeRenderingDisplayNode(
        user.scene.maps["error_probability"]
    )
    opacity = display.GetVolumePropertyNode().GetVolumeProperty().GetScalarOpacity()
    assert opacity.GetValue(0.5) > 0
    user.ui.thresholdSlider.setValue(0.7)
    user.desktop.wait_until(lambda: opacity_now(display, 0.5) == 0)
    user.click(user.ui.glowCheckBox)
    user.click(user.ui.surfaceCheckBox)
    assert nodes.marked(host.scene, "volume rendering") == []
    assert nodes.marked(host.scene, "risk surface") == []


def opacity_now(display, value: float) -> float:
    return display.GetVolumePropertyNode().GetVolumeProperty().GetScalarOpacity().GetValue(value)


def test_plausible_shapes_are_drawn_leafed_through_and_played(user, result, host, tmp_path):
    ui = user.ui
    user.click(ui.shapesButton)
    assert ui.pageLabel.text == "drawing..."
    user.wait()
    assert ui.pageLabel.text.startswith("1 of 12: ")
    ui.pageSlider.setValue(4)
    assert ui.pageLabel.text.startswith("5 of 12: ")
    user.click(ui.playButton)
    user.desktop.wait_until(lambda: ui.pageLabel.text.startswith("7 of 12"))
    user.click(ui.playButton)
    user.picture(tmp_path / "shapes.png")
    user.session.close_case()
    assert not ui.playButton.enabled
    assert nodes.marked(host.scene, "flip-book") == []


def test_a_head_without_shapes_is_said_in_the_status_line(user, result, wire_server):
    wire_server.refusals["/uncertainty/v1/results/k3y/samples"] = (400, b'{"detail": "deterministic has no shapes"}')
    user.click(user.ui.shapesButton)
    user.wait()
    assert "no shapes" in user.panel.ui.statusLabel.text
    assert user.ui.shapesButton.enabled


def test_a_map_that_does_not_come_is_said_and_the_one_before_stays(user, result, wire_server, host):
    wire_server.refusals[URL.format("expected_entropy")] = (404, b'{"detail": "gone"}')
    before = foreground(host)
    user.choose(user.ui.mapComboBox, "Expected entropy (nats), aleatoric")
    user.wait()
    assert "gone" in user.panel.ui.statusLabel.text
    assert foreground(host) is before


def test_the_views_are_arranged_and_given_back_when_the_module_is_left(user, result, host):
    manager = slicer.app.layoutManager()
    own = manager.layout
    user.click(user.ui.compareLayoutButton)
    assert manager.layout == layouts.COMPARE
    assert foreground(host) is not None
    assert foreground(host, layouts.PLAIN_VIEW) is None
    assert user.ui.compareLayoutButton.checked
    user.section.exit()
    assert manager.layout == own
    user.section.enter()
    assert manager.layout == layouts.COMPARE
    user.click(user.ui.ownLayoutButton)
    assert manager.layout == own


def test_a_stock_server_gives_no_maps_and_that_is_said(user, result, session):
    session.show_result(dataclasses.replace(result, maps={}, structures=()), None, {})
    assert user.ui.sourceLabel.text == "This server gives no risk maps."
    assert user.ui.structuresTable.rowCount == 0
    assert not user.ui.mapComboBox.enabled


def test_nodes_deleted_by_the_user_are_missed_politely(user, result, host):
    user.choose(user.ui.structureComboBox, "2  lesion")
    user.click(user.ui.surfaceCheckBox)
    host.scene.RemoveNode(user.scene.segmentation)
    user.choose(user.ui.whereComboBox, "inside the structure")
    user.click_cell(0)
    user.click_cell(0, twice=True)
    user.section.logic.toggle_outlines()
    host.scene.RemoveNode(user.scene.maps["error_probability"])
    user.ui.thresholdSlider.setValue(0.6)
    user.choose(user.ui.mapComboBox, "none")
    user.choose(user.ui.mapComboBox, "Error probability, total")
    user.wait()
    assert user.scene.shown == "error_probability", "fetched again"
    host.clear()
    user.session.close_case()
    assert user.ui.structuresTable.rowCount == 0
