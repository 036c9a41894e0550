"""One undo for everything that can be done to the segments, in the panel's editor and elsewhere in Slicer."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import segment_list

_ORGAN = (26, 20, 11)  # voxel of the file in the middle of the organ


@pytest.fixture
def free(editor):
    """The editor, where everything may be changed."""
    editor.ui.insideRiskCheckBox.setChecked(False)
    yield editor
    editor.ui.insideRiskCheckBox.setChecked(True)


def contents(editor) -> slicer.vtkSegmentation:
    return editor.scene.segmentation.GetSegmentation()


def segment(editor, name: str) -> slicer.vtkSegment:
    return contents(editor).GetSegment(contents(editor).GetSegmentIdBySegmentName(name))


def remove_by_the_editor(editor, name: str) -> None:
    """Its button is hidden, but Slicer's Segment Editor module has the same."""
    editor.choose(name)
    slicer.util.findChild(editor.section.editor, "RemoveSegmentButton").click()


def remove_in_another_module(editor, name: str) -> None:
    """As the modules Data and Segmentations do."""
    contents(editor).RemoveSegment(contents(editor).GetSegmentIdBySegmentName(name))


def clear(editor, name: str) -> None:
    """By the context menu of the editor's table."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ClearSegment(editor.scene.segmentation, contents(editor).GetSegmentIdBySegmentName(name))


def segments_of(editor) -> segment_list.SegmentList:
    return segment_list.read(editor.scene.segmentation, editor.scene.scan)


def state(editor) -> tuple:
    """All that an undo must bring back."""
    return segments_of(editor), editor.drawn().tobytes()


def do(editor, act) -> None:
    act()
    editor.desktop.process_events()


def texts(editor) -> list[str]:
    return [step.text for step in editor.session.history.done]


@pytest.mark.parametrize(
    ("take_away", "text"),
    [
        (remove_by_the_editor, "removal of organ"),
        (remove_in_another_module, "removal of organ"),
        (clear, "edit of organ"),
    ],
)
def test_a_structure_that_was_taken_away_comes_back_with_one_undo(free, take_away, text):
    before = state(free)
    do(free, lambda: take_away(free, "organ"))
    np.testing.assert_array_equal(free.drawn(), np.where(free.label == 1, 0, free.label))
    assert [entry.name for entry in segments_of(free)] == ["organ", "lesion"]  # where it was, empty
    assert texts(free) == [text]
    assert free.scene.edited
    free.click(free.ui.undoButton)
    assert state(free) == before
    assert not free.ui.undoButton.isEnabled()
    free.click(free.ui.redoButton)
    assert set(np.unique(free.drawn())) == {0, 2}


def test_a_removal_says_that_undo_brings_it_back_and_stays_where_it_is_allowed(editor):
    do(editor, lambda: remove_in_another_module(editor, "organ"))
    assert editor.session.state.message.startswith("organ is empty now where it is risky; it stays elsewhere.")
    stays = (editor.drawn() == 1) & (editor.label == 1)
    assert 0 < stays.sum() < (editor.label == 1).sum()
    editor.click(editor.ui.undoButton)
    np.testing.assert_array_equal(editor.drawn(), editor.label)


def test_a_structure_that_was_removed_can_be_drawn_again_by_hand_and_by_the_model(free):
    do(free, lambda: remove_in_another_module(free, "organ"))
    free.choose("organ")
    free.paint(_ORGAN, 5.0)
    assert (free.drawn() == 1).sum() > 50
    free.scene.redraw(free.session.state.model_label)  # as the answer to a click does
    np.testing.assert_array_equal(free.drawn(), free.label)


def test_segments_of_ones_own_are_added_drawn_renamed_and_removed_step_by_step(free):
    own = "Segment_1"
    acts = (
        lambda: slicer.util.findChild(free.section.editor, "AddSegmentButton").click(),
        lambda: free.paint(_ORGAN, 4.0),
        lambda: segment(free, own).SetName("stent"),
        lambda: segment(free, "stent").SetColor(1.0, 0.0, 0.5),
        lambda: remove_by_the_editor(free, "stent"),
    )
    states = [state(free)]
    for act in acts:
        do(free, act)
        states.append(state(free))
    assert len(set(states)) == len(states)
    assert texts(free) == [
        *(f"new segment {own}", f"edit of {own}", f"new name or colour of {own}", "new name or colour of stent"),
        "removal of stent",
    ]
    for expected in states[-2::-1]:
        free.click(free.ui.undoButton)
        assert state(free) == expected
    for expected in states[1:]:
        free.click(free.ui.redoButton)
        assert state(free) == expected


def test_islands_that_become_segments_of_their_own_go_back_into_the_structure(free):
    before = state(free)

    def split() -> None:
        """As the effect Islands does: voxels of the organ become another segment."""
        organ = slicer.util.arrayFromSegmentBinaryLabelmap(free.scene.segmentation, organ_id, free.scene.scan)
        part = organ.copy()
        part[:, :, 20:] = 0
        new = contents(free).AddEmptySegment("", "organ_1")
        slicer.util.updateSegmentBinaryLabelmapFromArray(part, free.scene.segmentation, new, free.scene.scan)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            organ - part, free.scene.segmentation, organ_id, free.scene.scan
        )

    organ_id = contents(free).GetSegmentIdBySegmentName("organ")
    do(free, split)
    after = state(free)
    assert after[0][-1].drawn.box
    assert texts(free) == ["new segment organ_1"]
    free.click(free.ui.undoButton)
    assert state(free) == before
    free.click(free.ui.redoButton)
    assert state(free) == after


def test_names_colours_and_order_of_structures_come_back(free):
    before = state(free)
    acts = (
        lambda: segment(free, "organ").SetName("liver"),
        lambda: segment(free, "liver").SetColor(0.1, 0.2, 0.3),
        lambda: contents(free).ReorderSegments(contents(free).GetSegmentIDs()[::-1]),
    )
    for act in acts:
        do(free, act)
    assert [entry.name for entry in segments_of(free)] == ["lesion", "liver"]
    assert free.scene.structure_colors()[1] == (0.1, 0.2, 0.3)
    for _act in acts:
        free.click(free.ui.undoButton)
    assert state(free) == before
    assert not free.session.history.last


def test_what_the_module_does_to_the_segments_is_no_step(editor):
    editor.section.editing.confine()
    editor.session.state.review_threshold = 0.8
    editor.session.threshold_rested.emit()
    editor.desktop.process_events()
    assert texts(editor) == []
    editor.scene.segmentation.GetDisplayNode().SetSegmentVisibility(contents(editor).GetSegmentIDs()[0], False)
    editor.desktop.process_events()
    assert texts(editor) == []
