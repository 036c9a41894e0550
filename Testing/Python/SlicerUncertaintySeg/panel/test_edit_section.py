"""Correcting a label in the panel: where the tools may go, and where not."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import editing as scene_editing

_ORGAN = (26, 20, 11)  # voxel of the file in the middle of the organ


def risky(editor) -> np.ndarray:
    values = slicer.util.arrayFromVolume(editor.scene.maps["error_probability"]) > 0.5
    return scene_editing.grown(values)


def allowed(editor) -> np.ndarray:
    """Where the tools may go, I J K of the file."""
    mask = risky(editor)
    return (mask[::-1] if editor.scene.scan.GetAttribute("UncertaintySeg.LeftHandedFile") else mask).transpose(2, 1, 0)


@pytest.mark.parametrize("tool", ["paint", "erase"])
def test_the_tools_change_only_what_is_risky(editor, tool):
    editor.choose("lesion" if tool == "paint" else "organ")
    getattr(editor, tool)((31, 20, 11), 9.0)
    changed = editor.changed()
    assert changed.any()
    assert not changed[~allowed(editor)].any()


def test_the_eraser_does_not_widen_the_part_that_may_be_edited(editor):
    editor.choose("organ")
    for _time in range(2):
        editor.erase(_ORGAN, 12.0)
    segmentation = editor.scene.segmentation
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, scene_editing.SEGMENT, editor.scene.scan)
    np.testing.assert_array_equal(mask.astype(bool), risky(editor))
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 3


def test_free_editing_changes_everything_and_is_remembered(editor):
    from UncertaintySegLib.logic import settings

    editor.ui.insideRiskCheckBox.setChecked(False)
    try:
        assert not settings.value("editInsideRisk")
        assert editor.scene.segmentation.GetSegmentation().GetSegment(scene_editing.SEGMENT) is None
        editor.choose("organ")
        editor.erase((15, 20, 11), 4.0)
        assert editor.changed()[15, 20, 11]
        assert editor.ui.uncertainLabel.text == "The tools may change everything."
    finally:
        editor.ui.insideRiskCheckBox.setChecked(True)


def test_painting_an_organ_takes_voxels_of_the_other_but_not_of_the_mask(editor):
    editor.choose("lesion")
    editor.paint((31, 20, 11), 6.0)
    names = {1: "organ", 2: "lesion"}
    masks = {
        label: slicer.util.arrayFromSegmentBinaryLabelmap(
            editor.scene.segmentation,
            editor.scene.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name),
            editor.scene.scan,
        ).astype(bool)
        for label, name in names.items()
    }
    assert not (masks[1] & masks[2]).any()
    assert (editor.drawn() == 2).sum() == masks[2].sum() > (editor.label == 2).sum()


def test_the_mask_follows_the_threshold_when_it_rests(editor):
    before = editor.section.editing.uncertain_ml
    editor.session.state.review_threshold = 0.9
    assert editor.section.editing.uncertain_ml == before
    editor.session.threshold_rested.emit()
    assert 0 < editor.section.editing.uncertain_ml < before
    assert "The tools may change" in editor.ui.uncertainLabel.text


def test_a_threshold_above_everything_says_why_nothing_can_be_drawn(editor):
    editor.session.state.review_threshold = 2.0
    editor.session.threshold_rested.emit()
    assert editor.ui.uncertainLabel.text.startswith("Nothing is above the threshold")


def test_the_editors_table_and_the_export_know_no_uncertain_segment(editor):
    (table,) = slicer.util.findChildren(editor.section.editor, name="SegmentsTableView")
    contents = editor.scene.segmentation.GetSegmentation()
    assert [contents.GetSegment(shown).GetName() for shown in table.displayedSegmentIDs()] == ["organ", "lesion"]
    assert editor.scene.write_label(editor.session.folder / "label.nii") == []
    visible = editor.scene.segmentation.GetDisplayNode().GetSegmentVisibility
    assert not visible(scene_editing.SEGMENT)


def test_strokes_are_undone_and_redone_one_by_one(editor):
    editor.choose("organ")
    states = [editor.drawn()]
    for ijk in ((26, 7, 11), (26, 33, 11)):
        editor.erase(ijk, 5.0)
        states.append(editor.drawn())
    assert (states[0] != states[1]).any()
    assert (states[1] != states[2]).any()
    for expected in states[-2::-1]:
        editor.click(editor.ui.undoButton)
        np.testing.assert_array_equal(editor.drawn(), expected)
    assert not editor.ui.undoButton.isEnabled()
    for expected in states[1:]:
        editor.click(editor.ui.redoButton)
        np.testing.assert_array_equal(editor.drawn(), expected)


def test_what_was_drawn_by_hand_stays_editable_when_its_risk_is_gone(editor):
    editor.choose("organ")
    editor.erase((26, 7, 11), 5.0)
    stroke = editor.changed()
    values = slicer.util.arrayFromVolume(editor.scene.maps["error_probability"])
    values[:] = 0
    editor.section.editing.confine()
    editor.paint((26, 7, 11), 20.0)
    assert stroke.any()
    assert not editor.changed().any()


def test_a_deleted_segmentation_is_said_where_the_tools_were(connected, host):
    host.scene.RemoveNode(connected.scene.segmentation)
    connected.section.editing.settle()
    connected.section.on_autosave()
    assert connected.ui.emptyLabel.text.startswith("The segmentation or its scan is no longer in the scene")
    assert not connected.ui.submitButton.isEnabled()


def test_nothing_is_edited_in_a_read_only_panel(editor):
    editor.session.state.read_only = True
    editor.session.changed.emit()
    assert not editor.section.button.visible
