"""From region to region by keys and buttons, in a real scene."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.reviewer import SPECS, Reviewer, regions_of
from UncertaintySegLib.logic.decisions import ACCEPTED, Decision


def test_without_a_result_it_says_what_to_do(open_panel, tmp_path):
    from UncertaintySegLib.panel.regions_section import RegionsSection

    panel = open_panel(RegionsSection)
    ui = panel.sections["Regions"].ui
    assert ui.progressLabel.text == "Run a model first: it says where to look."
    for button in (ui.nextButton, ui.previousButton, ui.acceptButton, ui.dismissButton, ui.undoButton, ui.clickButton):
        assert not button.isEnabled()
    panel.widget.grab().save(str(tmp_path / "empty.png"))


def test_the_list_has_structure_kind_volume_and_error(reviewer, tmp_path):
    assert reviewer.row(0) == ["1", "organ", "border", "1.50", "0.600", ""]
    assert reviewer.row(1) == ["2", "lesion", "border", "1.50", "0.400", ""]
    assert reviewer.ui.progressLabel.text == "0 of 3 decided; expected error left 1.50 of 1.50 mL."
    color = reviewer.ui.regionsTable.item(0, 1).data(1)
    assert color.getRgb()[:3] == (153, 217, 255)
    assert reviewer.selected() is None
    reviewer.click(reviewer.ui.nextButton)
    reviewer.click(reviewer.ui.acceptButton)
    reviewer.panel.widget.grab().save(str(tmp_path / "regions.png"))


def test_keys_go_from_region_to_region_and_the_views_follow(reviewer):
    reviewer.press("N")
    assert reviewer.selected() == 0
    assert reviewer.is_shown(SPECS[0][1])
    reviewer.press("N")
    assert reviewer.is_shown(SPECS[1][1])
    reviewer.press("N")
    reviewer.press("N")
    assert reviewer.selected() == 2
    reviewer.press("Shift+N")
    assert reviewer.selected() == 1
    assert reviewer.is_shown(SPECS[1][1])


def test_a_click_on_a_row_goes_there(reviewer):
    from PySide6 import QtCore, QtTest

    table = reviewer.ui.regionsTable
    place = table.visualItemRect(table.item(2, 1)).center()
    QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.LeftButton, pos=place)
    assert reviewer.regions.current == 2
    assert reviewer.is_shown(SPECS[2][1])


def test_h_shows_the_whole_scan_again(reviewer):
    reviewer.press("N")
    near = reviewer.host.slice_view("Red").node.GetFieldOfView()[0]
    reviewer.press("H")
    assert reviewer.host.slice_view("Red").node.GetFieldOfView()[0] > near


def test_accepting_counts_and_goes_on_dismissing_leaves_the_error(reviewer):
    wanted = []
    reviewer.session.review_wanted.connect(lambda: wanted.append(True))
    reviewer.press("N")
    reviewer.press("K")
    assert reviewer.states() == ["accepted", "open", "open"]
    assert reviewer.selected() == 1
    assert reviewer.session.state.accepted == [SPECS[0][2]]
    assert wanted == [True]
    assert reviewer.ui.progressLabel.text == "1 of 3 decided; expected error left 0.90 of 1.50 mL."
    reviewer.press("D")
    assert reviewer.ui.progressLabel.text == "2 of 3 decided; expected error left 0.90 of 1.50 mL."
    assert wanted == [True]
    reviewer.press("K")
    assert reviewer.ui.progressLabel.text.endswith("0.70 of 1.50 mL. All regions are decided: submit.")
    assert reviewer.row(1)[5] == "dismissed"


def test_what_a_draft_has_accepted_stays_accepted(reviewer):
    of_draft = ((0, 0, 0), (2, 2, 2))
    [region] = regions_of(reviewer.files, [("organ", (1, 1, 1), of_draft, 0.1)])
    reviewer.session.state.decisions = (Decision(region, ACCEPTED),)
    reviewer.session.label_restored.emit()
    assert reviewer.states() == ["open", "open", "open", "accepted"]
    reviewer.press("N")
    reviewer.press("K")
    assert reviewer.session.state.accepted == [of_draft, SPECS[0][2]]
    reviewer.press("Z")
    assert reviewer.session.state.accepted == [of_draft]


def test_what_was_decided_is_undone_and_done_again_in_order(reviewer):
    reviewer.press("N")
    for key in "KDK":
        reviewer.press(key)
    for named, states, accepted in (
        ("accept region 3", ["accepted", "dismissed", "open"], 1),
        ("dismiss region 2", ["accepted", "open", "open"], 1),
        ("accept region 1", ["open", "open", "open"], 0),
    ):
        assert reviewer.ui.undoButton.text == f"Undo: {named}"
        reviewer.press("Z")
        assert reviewer.ui.redoButton.toolTip == f"Redo: {named} Key: Y; Ctrl+Y; Ctrl+Shift+Z"
        assert reviewer.session.state.message == f"Undone: {named}."
        assert reviewer.states() == states
        assert len(reviewer.session.state.accepted) == accepted
    reviewer.press("Z")
    for _time in range(3):
        reviewer.press("Y")
    assert reviewer.states() == ["accepted", "dismissed", "accepted"]
    assert not reviewer.ui.redoButton.isEnabled()


def test_decisions_hold_for_the_regions_of_a_review(reviewer):
    reviewer.press("N")
    reviewer.press("K")
    reviewer.press("D")
    moved = (
        ("lesion", (34, 20, 11), ((30, 16, 9), (38, 24, 13)), 0.3),
        SPECS[2],
        ("organ", (40, 40, 20), ((39, 39, 19), (41, 41, 21)), 0.1),
    )
    reviewer.review(regions_of(reviewer.files, moved), 0.6)
    assert [(item.region.structure, item.state) for item in reviewer.regions.items] == [
        ("organ", "accepted"),
        ("lesion", "dismissed"),
        ("organ", "open"),
        ("organ", "open"),
    ]
    assert reviewer.ui.progressLabel.text == "2 of 4 decided; expected error left 0.60 of 1.50 mL."
    assert reviewer.selected() == 2


def test_undoing_goes_back_to_what_the_server_said_before(reviewer):
    first = reviewer.session.state.result
    reviewer.press("N")
    reviewer.press("K")
    reviewer.review(regions_of(reviewer.files, SPECS[1:]), 0.9)
    reviewed = reviewer.session.state.result
    reviewer.press("Z")
    assert reviewer.session.state.result is first
    assert reviewer.states() == ["open"] * 3
    reviewer.press("Y")
    assert reviewer.session.state.result is reviewed
    assert reviewer.states() == ["accepted", "open", "open"]


def test_an_edited_region_is_open_again_where_the_server_still_doubts_it(reviewer):
    reviewer.press("N")
    reviewer.session.history.add("Edit", lambda: None, lambda: None, ((20, 7, 9), (22, 8, 10)))
    assert reviewer.states() == ["edited", "open", "open"]
    reviewer.review(regions_of(reviewer.files, SPECS[1:]), 0.9)
    assert reviewer.states() == ["edited", "open", "open"]
    reviewer.review(regions_of(reviewer.files, (("organ", (26, 8, 11), SPECS[0][2], 0.3), *SPECS[1:])), 1.2)
    assert "edited" not in reviewer.states()
    reviewer.press("Z")
    assert reviewer.states() == ["open"] * 3


def test_the_box_can_be_turned_off(reviewer):
    reviewer.press("N")
    models = [node for node in slicer.util.getNodesByClass("vtkMRMLModelNode") if "region" in node.GetName()]
    assert [bool(model.GetDisplayVisibility()) for model in models] == [True, True]
    reviewer.ui.boxCheckBox.click()
    assert not any(model.GetDisplayVisibility() for model in models)
    reviewer.press("N")
    assert not any(model.GetDisplayVisibility() for model in models)


def test_keys_work_only_while_the_module_is_open(reviewer):
    reviewer.panel.exit()
    reviewer.press("N")
    assert reviewer.selected() is None
    reviewer.panel.enter()
    reviewer.press("N")
    assert reviewer.selected() == 0


def test_whoever_reads_only_decides_nothing(reviewer):
    reviewer.session.state.read_only = True
    reviewer.session.changed.emit()
    reviewer.press("N")
    reviewer.press("K")
    assert reviewer.states() == ["open"] * 3
    assert reviewer.selected() == 0
    assert not reviewer.ui.acceptButton.isVisible()
    assert not reviewer.ui.clicksGroup.isVisible()


def test_a_scan_that_is_gone_is_said(reviewer):
    reviewer.host.scene.RemoveNode(reviewer.session.scene.scan)
    reviewer.press("N")
    assert "no longer in the scene" in reviewer.panel.ui.statusLabel.text
    reviewer.press("C")
    assert not reviewer.clicks.is_on


def test_closing_the_case_empties_the_list(reviewer):
    reviewer.press("N")
    reviewer.press("C")
    reviewer.session.close_case()
    assert reviewer.ui.progressLabel.text == "Run a model first: it says where to look."
    assert not reviewer.clicks.is_on
    assert not slicer.util.getNodesByClass("vtkMRMLMarkupsNode")
    reviewer.press("N")
    reviewer.press("K")


def test_nothing_is_cut_off(reviewer):
    reviewer.desktop.process_events()
    ui = reviewer.ui
    for button in (ui.previousButton, ui.acceptButton, ui.dismissButton, ui.undoButton, ui.clickButton):
        assert button.width >= button.fontMetrics().horizontalAdvance(button.text)
        assert "Key: " in button.toolTip
    table = ui.regionsTable
    assert table.horizontalHeader().length() <= table.width


@pytest.fixture
def with_editor(host, open_panel, show_result, phantom_case, tmp_path, monkeypatch):
    from UncertaintySegLib.logic import drafts
    from UncertaintySegLib.panel import edit_section
    from UncertaintySegLib.panel.regions_section import RegionsSection

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    assert drafts.default_folder
    panel = open_panel(RegionsSection, edit_section.EditSection)
    show_result(regions=regions_of(phantom_case), remaining_error_ml=1.5)
    panel.enter()
    yield Reviewer(panel, phantom_case, host)
    panel.exit()


def test_a_decision_does_not_read_a_label_that_nobody_has_drawn_on(with_editor, monkeypatch):
    reviewer, scene, reads = with_editor, with_editor.session.scene, []
    label_ids = scene.label_ids
    monkeypatch.setattr(scene, "label_ids", lambda: reads.append(True) or label_ids())
    for key in "NKDZ":
        reviewer.press(key)
    assert reviewer.states() == ["accepted", "open", "open"]
    assert reads == []


def test_decisions_clicks_and_edits_are_undone_in_one_order(with_editor, wire_server):
    reviewer, section = with_editor, with_editor.panel.sections["Edit"]
    section._review.setInterval(1_000_000)  # what a review still finds in an edited region is open again
    reviewer.session.url = wire_server.url
    section.ui.insideRiskCheckBox.setChecked(False)
    first = reviewer.session.scene.label_ids()
    reviewer.press("N")
    reviewer.press("K")
    reviewer.press("C")
    reviewer.place((33, 20, 11))
    reviewer.answered()
    section.editor.setCurrentSegmentID(
        reviewer.session.scene.segmentation.GetSegmentation().GetSegmentIdBySegmentName("lesion")
    )
    section.editor.setActiveEffectByName("Paint")
    reviewer.desktop.paint(section.editor, reviewer.ras((33, 26, 11)), 4.0)
    reviewer.desktop.process_events()
    edited = reviewer.session.scene.label_ids()
    assert (edited != first).any()
    assert reviewer.states()[:2] == ["accepted", "edited"]
    assert [step.text for step in reviewer.session.history.done] == [
        *("accept region 1", "click for organ", "edit of lesion")
    ]
    reviewer.press("Z")
    np.testing.assert_array_equal(reviewer.session.scene.label_ids(), first)
    reviewer.press("Z")
    assert reviewer.clicks.count == 0
    reviewer.press("Z")
    assert reviewer.states() == ["open"] * 3
    for _time in range(3):
        reviewer.press("Y")
    np.testing.assert_array_equal(reviewer.session.scene.label_ids(), edited)
    assert reviewer.clicks.count == 1
    assert reviewer.states()[0] == "accepted"
