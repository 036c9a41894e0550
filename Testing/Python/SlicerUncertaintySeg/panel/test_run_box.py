"""How a model is run: what the server offers is chosen, remembered, and sent with the run."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import slicer
import vtk

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.server.choices import RunOption
from UncertaintySegLib.server.replies import parse_info


class Chooser:
    """Somebody at the section that runs models, with the phantom open."""

    def __init__(self, panel, server) -> None:
        from slicer_host import desktop

        self.desktop, self.panel, self.session, self.server = desktop, panel, panel.session, server
        self.section = panel.sections["Segment"]
        self.ui = self.section.ui

    def method(self, text: str) -> None:
        box = self.ui.methodComboBox
        box.setCurrentIndex([box.itemText(place) for place in range(box.count)].index(text))

    def option(self, name: str):
        found = slicer.util.findChildren(self.ui.optionsWidget, name=f"{name}Option")
        assert found, name
        return found[-1]

    def row(self, name: str) -> int:
        table = self.ui.structuresTable
        return next(row for row in range(table.rowCount) if table.item(row, 1).text() == name)

    def tick(self, name: str, *, ticked: bool) -> None:
        import qt

        state = qt.Qt.Checked if ticked else qt.Qt.Unchecked
        self.ui.structuresTable.item(self.row(name), 1).setCheckState(state)

    def run(self) -> dict:
        """Press the button; returns what the server was told."""
        self.ui.runButton.click()
        self.desktop.wait_until(lambda: not self.session.busy)
        return [body for path, body in self.server.bodies if path == "/uncertainty/v1/jobs"][-1]["params"]


def sit_down(open_panel, session, server) -> Chooser:
    panel = open_panel(SegmentSection)
    session.url = server.url
    session.state.info = parse_info(server.info)
    session.changed.emit()
    panel.sections["Segment"].ui.runGroupBox.collapsed = False
    return Chooser(panel, server)


@pytest.fixture
def chooser(open_panel, session, show_result, wire_server):
    settings.remember("runs", "")
    settings.remember("model", "phantom_low_rank")
    chooser = sit_down(open_panel, session, wire_server)
    show_result()
    yield chooser
    settings.remember("runs", "")


def test_as_it_is_nothing_is_sent(chooser):
    assert chooser.ui.methodComboBox.currentText == "once, as it is"
    assert "runs once" in chooser.ui.methodLabel.text
    assert chooser.run() == {}


def test_a_method_and_settings_are_sent_with_the_run_and_said_with_its_result(chooser, wire_server):
    chooser.method("dropout injection")
    assert "The network runs 30 times" in chooser.ui.methodLabel.text
    chooser.option("passes").setValue(7)
    chooser.option("granularity").setCurrentIndex(1)
    chooser.option("crf").setChecked(True)
    chooser.option("threshold").setCurrentIndex(1)
    assert chooser.option("p").maximum == 0.99
    assert chooser.option("seed").maximum == 2**31 - 1
    risk = wire_server.job_result["risk"]
    wire_server.job_result = {
        **wire_server.job_result,
        "risk": {**risk, "provenance": {**risk["provenance"], "params": {"method": "dropout_injection", "passes": 7}}},
    }
    assert chooser.run() == {
        "method": "dropout_injection",
        "options": {"passes": 7, "granularity": "element"},
        "crf": True,
        "threshold": "otsu",
    }
    assert "Run with method dropout_injection, passes 7." in chooser.session.state.message


def test_settings_that_change_nothing_are_hidden_and_not_sent(chooser):
    def shown() -> set[str]:
        names = ("crf_weight", "threshold_of", "threshold_fixed")
        return {name for name in names if not chooser.option(name).isHidden()}

    assert shown() == set()
    chooser.option("crf").setChecked(True)
    assert shown() == {"crf_weight"}
    chooser.option("crf_weight").setValue(10)
    chooser.option("threshold").setCurrentIndex(1)
    assert shown() == {"crf_weight", "threshold_of"}
    chooser.option("threshold").setCurrentIndex(2)
    assert shown() == {"crf_weight", "threshold_of", "threshold_fixed"}
    chooser.option("threshold_fixed").setValue(0.3)
    chooser.option("threshold_of").setCurrentIndex(1)
    told = {"crf": True, "crf_weight": 10, "threshold": "fixed", "threshold_of": "variance", "threshold_fixed": 0.3}
    assert chooser.run() == told
    chooser.option("crf").setChecked(False)
    chooser.option("threshold").setCurrentIndex(1)
    assert shown() == {"threshold_of"}
    assert chooser.run() == {"threshold": "otsu", "threshold_of": "variance"}


def test_where_a_threshold_lies_and_how_the_crf_was_set_is_said_with_the_result(chooser, wire_server):
    risk = wire_server.job_result["risk"]
    params = {"crf": {"weight": 10.0, "radius_mm": None}, "threshold": "predictive_entropy:percentile"}
    cut = {"of": "predictive_entropy", "method": "percentile", "setting": 95, "value": 0.4321, "unit": "nats",
           "fallback": False, "above_ml": 12.5}  # fmt: skip
    told = {**risk, "threshold": cut, "provenance": {**risk["provenance"], "params": params}}
    wire_server.job_result = {**wire_server.job_result, "risk": told}
    chooser.run()
    said = chooser.session.state.message
    assert "crf (weight 10.0)" in said
    assert "Threshold of predictive entropy (percentile 95): 0.4321 nats; 12.5 mL are above it." in said


def test_a_choice_is_remembered_for_each_model_and_forgotten_where_it_is_not_offered_any_more(
    chooser, open_panel, session, wire_server
):
    chooser.method("dropout injection")
    chooser.option("passes").setValue(7)
    chooser.tick("lesion", ticked=False)
    again = sit_down(open_panel, session, wire_server)
    assert again.ui.methodComboBox.currentText == "dropout injection"
    assert again.run() == {"method": "dropout_injection", "options": {"passes": 7}, "structures": ["organ"]}
    kept = json.loads(settings.value("runs"))
    kept["phantom_low_rank"]["options"]["dropout_injection"]["passes"] = 99999
    kept["phantom_low_rank"]["run"] = {"seed": "x", "crf": 3}
    settings.remember("runs", json.dumps(kept))
    assert sit_down(open_panel, session, wire_server).run()["options"] == {}
    model = session.state.info.models["phantom_low_rank"]
    session.state.info = replace(session.state.info, models={model.name: replace(model, methods=model.methods[1:])})
    session.changed.emit()
    assert "method" not in again.section._run.choice.params(again.section.model)


def test_structures_have_their_label_numbers_and_only_the_ticked_ones_are_asked_for(chooser):
    table = chooser.ui.structuresTable
    assert [table.item(row, column).text() for row in range(2) for column in (0, 1)] == ["1", "organ", "2", "lesion"]
    assert chooser.ui.structuresLabel.text == "All 2 structures get maps, regions and rows."
    chooser.tick("organ", ticked=False)
    assert chooser.ui.structuresLabel.text == "1 of 2 structures get maps, regions and rows; the label has all of them."
    assert chooser.run()["structures"] == ["lesion"]
    chooser.ui.noStructuresButton.click()
    assert "No structure is ticked" in chooser.ui.structuresLabel.text
    assert "structures" not in chooser.run()


def test_the_region_of_interest_is_sent_as_voxels_of_the_scans_file(chooser, session, phantom_case):
    chooser.ui.regionCheckBox.click()
    node = chooser.section._run.region.node
    assert node.GetScene() is session.scene.scene
    scan = nib.load(phantom_case.scan)
    half = [[size // 4, size - size // 4] for size in scan.shape]  # a new one is in the middle, along the scan's axes
    assert chooser.section._run.region.voxels(session.scene.scan) == half
    box = np.array([[10, 30], [5, 40], [6, 20]])
    voxel = np.linalg.norm(scan.affine[:3, :3], axis=0)
    axes = np.eye(4)
    axes[:3, :3] = scan.affine[:3, :3] / voxel  # the box is turned as the scan is
    axes[:3, 3] = nib.affines.apply_affine(scan.affine, box.mean(axis=1) - 0.5)
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(axes))
    node.SetSize(*((box[:, 1] - box[:, 0]) * voxel))
    assert chooser.run()["roi"] == box.tolist()
    node.SetCenter(1000.0, 0.0, 0.0)
    before = len(chooser.server.bodies)
    chooser.ui.runButton.click()
    assert "does not touch the scan" in session.state.message
    assert len(chooser.server.bodies) == before


def test_a_region_reaches_over_the_edge_no_further_than_the_scan_and_goes_with_the_case(
    chooser, session, phantom_case, show_result
):
    chooser.ui.regionCheckBox.click()
    region = chooser.section._run.region
    region.node.SetSize(1000.0, 1000.0, 1000.0)
    assert region.voxels(session.scene.scan) == [[0, size] for size in nib.load(phantom_case.scan).shape]
    show_result()
    assert not chooser.ui.regionCheckBox.checked
    with pytest.raises(SceneError, match="no longer in the scene"):
        region.voxels(session.scene.scan)


def test_points_ask_a_model_that_is_prompted_for_structures(chooser, session, phantom_case, show_result):
    assert not chooser.ui.promptsWidget.isVisibleTo(chooser.ui.runGroupBox)
    model = session.state.info.models["phantom_low_rank"]
    asks = RunOption("prompt_region", "choice", choices=("organ", "lesion"))
    models = {**session.state.info.models, model.name: replace(model, run_options=(asks, *model.run_options))}
    session.state.info = replace(session.state.info, models=models)
    session.changed.emit()
    ui = chooser.ui
    assert ui.promptsWidget.isVisibleTo(ui.runGroupBox)
    assert "prompts" not in chooser.run()
    affine = nib.load(phantom_case.scan).affine  # oblique
    for row, voxels in ((1, [[26, 20, 11], [4, 30, 2]]), (2, [[7, 9, 13]])):
        ui.promptComboBox.setCurrentIndex(row)
        ui.promptPlaceButton.click()
        placing = slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID()
        for voxel in voxels:
            at = nib.affines.apply_affine(affine, np.add(voxel, [0.4, -0.4, 0.3]))
            session.scene.scene.GetNodeByID(placing).AddControlPoint(vtk.vtkVector3d(*at))
    assert ui.promptLabel.text == "Points: lesion 2, background 1."
    assert chooser.run()["prompts"]["points"] == [
        {"structure": "lesion", "voxel": [26, 20, 11]},
        {"structure": "lesion", "voxel": [4, 30, 2]},
        {"structure": "background", "voxel": [7, 9, 13]},
    ]
    slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()  # as a right click does
    assert not ui.promptPlaceButton.checked
    session.scene.scene.GetNodeByID(placing).AddControlPoint(vtk.vtkVector3d(1000.0, 0.0, 0.0))
    before = len(chooser.server.bodies)
    ui.runButton.click()
    assert "A prompt point of background lies outside of the scan" in session.state.message
    assert len(chooser.server.bodies) == before
    ui.promptRemoveButton.click()
    assert ui.promptLabel.text == "No points yet."
    assert "prompts" not in chooser.run()


def test_where_an_imported_model_comes_from_is_said(chooser):
    lines = chooser.ui.aboutLabel.text.replace("\u200b", "").splitlines()
    assert "Imported from nnU-Net (folder Dataset004)." in lines
    assert chooser.ui.aboutLabel.toolTip == "1  organ, 2  lesion"


def test_a_stock_model_offers_nothing_of_it(chooser):
    chooser.section._choose("stock_model")
    chooser.session.changed.emit()
    assert not chooser.ui.runGroupBox.isVisibleTo(chooser.panel.widget)


def test_numbers_in_a_line_and_ticked_choices_are_sent_as_lists(chooser):
    import qt

    chooser.method("tta")
    line, models = chooser.option("scales"), chooser.option("models")
    assert line.text == "1"
    assert [(models.item(row).text(), models.item(row).checkState() == qt.Qt.Checked) for row in range(3)] == [
        ("a", True), ("b", True), ("c", False),
    ]  # fmt: skip
    assert chooser.run() == {"method": "tta", "options": {}}
    line.setText("0.75, 1; 1.25")
    models.item(2).setCheckState(qt.Qt.Checked)
    models.item(0).setCheckState(qt.Qt.Unchecked)
    assert chooser.run() == {"method": "tta", "options": {"scales": [0.75, 1.0, 1.25], "models": ["b", "c"]}}
    assert json.loads(settings.value("runs"))["phantom_low_rank"]["options"]["tta"]["models"] == ["b", "c"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("0.9, one", "scales: 'one' is no number; separate numbers by commas, as in 0.9, 1, 1.1."),
        ("0.9, 5", "scales: 5 is not in the range from 0.1 to 4."),
        ("nan", "scales: nan is not in the range from 0.1 to 4."),
        (" , ", "scales: choose 1 at least."),
        ("1 1 1 1", "scales: choose 3 at most."),
    ],
)
def test_a_line_that_cannot_be_sent_is_said_below_it_and_nothing_runs_until_it_is_mended(chooser, typed, said):
    chooser.method("tta")
    line, label = chooser.option("scales"), chooser.ui.optionsLabel
    line.setText(typed)
    assert (label.text, label.isVisibleTo(chooser.panel.widget)) == (said, True)
    before = len(chooser.server.bodies)
    chooser.ui.runButton.click()
    assert (chooser.session.state.message, len(chooser.server.bodies)) == (said, before)
    line.setText("0.5")
    assert not label.isVisibleTo(chooser.panel.widget)
    assert chooser.run()["options"] == {"scales": [0.5]}


def test_too_few_ticks_are_said_and_go_with_their_method(chooser):
    import qt

    chooser.method("tta")
    chooser.option("models").item(1).setCheckState(qt.Qt.Unchecked)
    assert chooser.ui.optionsLabel.text == "models: choose 2 at least."
    chooser.method("once, as it is")
    assert not chooser.ui.optionsLabel.isVisibleTo(chooser.panel.widget)
    assert chooser.run() == {}


def offer(chooser, **fields) -> None:
    """Have the server offer these settings of test-time augmentation alone."""
    state = chooser.session.state
    model = state.info.models["phantom_low_rank"]
    methods = tuple(replace(each, **fields) if each.name == "tta" else each for each in model.methods)
    state.info = replace(state.info, models={model.name: replace(model, methods=methods)})
    chooser.session.changed.emit()
    chooser.method("tta")


def test_a_setting_that_a_run_must_be_told_is_sent_as_it_stands(chooser):
    offer(chooser, options=(RunOption("models", "choices", ("a", "b"), choices=("a", "b"), fewest=2, required=True),))
    assert chooser.run() == {"method": "tta", "options": {"models": ["a", "b"]}}


def test_what_has_no_default_is_left_to_the_model_until_somebody_sets_it_and_again_afterwards(chooser):
    offer(
        chooser,
        options=(
            RunOption("last", "integer", low=1, high=9),
            RunOption("std", "number", low=0, high=2),
            RunOption("span", "numbers", (), low=-1, high=1, fewest=2, most=2),
        ),
    )
    last, std, span = (chooser.option(name) for name in ("last", "std", "span"))
    assert (last.text, std.text, span.text) == ("the model's own way", "the model's own way", "")
    assert chooser.run()["options"] == {}
    last.setValue(1)
    std.setValue(0.0)
    span.setText("-0.5, 1")
    assert chooser.run()["options"] == {"last": 1, "std": 0.0, "span": [-0.5, 1.0]}
    span.setText("0.5")
    assert chooser.ui.optionsLabel.text == "span: choose 2 at least."
    span.setText("")
    last.setValue(0)
    std.setValue(-1.0)
    assert chooser.ui.optionsLabel.text == ""
    assert chooser.run()["options"] == {}
