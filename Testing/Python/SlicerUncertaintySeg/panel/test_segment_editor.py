"""Slicer's Segment Editor in the panel: it edits the segmentation of the case and no other, and keeps nothing."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import slicer

from UncertaintySegLib.scene import editing


def edited(host):
    """The segmentation and the volume that the editor edits."""
    node = editing.editor_node(host.scene)
    return node.GetSegmentationNode(), node.GetSourceVolumeNode()


def add_own(host) -> tuple:
    """A segmentation and a volume of the user's own, visible to every selector."""
    own = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    own.GetSegmentation().AddEmptySegment("tumour", "tumour")
    return own, slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16), name="my scan")


@pytest.fixture
def open_section(open_panel, drafts):
    """The function that opens the panel with the section alone, and no case."""
    from UncertaintySegLib.panel.edit_section import EditSection

    return lambda: open_panel(EditSection).sections["Edit"]


def in_batch(host, act) -> None:
    """As Slicer does around the loading of a scene, and modules around many changes."""
    host.scene.StartState(host.scene.BatchProcessState)
    act()
    host.scene.EndState(host.scene.BatchProcessState)


@pytest.mark.parametrize("first", [True, False], ids=["before the module", "after it"])
def test_a_segmentation_of_the_users_own_is_not_adopted_without_a_case(host, open_section, first):
    if first:
        add_own(host)
    section = open_section()
    for act in (lambda: add_own(host), lambda: None):
        in_batch(host, act)
        assert edited(host) == (None, None)
        assert section.editor.segmentationNode() is None
    add_own(host)
    assert edited(host) == (None, None)


def test_the_case_stays_the_one_that_is_edited_until_it_goes(host, editor):
    case = (editor.scene.segmentation, editor.scene.scan)
    assert edited(host) == case
    made, seen = [], []
    in_batch(host, lambda: made.extend(add_own(host)))
    own, volume = made
    assert edited(host) == case
    own.AddObserver("ModifiedEvent", lambda *_: seen.append("modified"))
    in_batch(host, editor.session.close_case)
    in_batch(host, lambda: None)
    assert edited(host)[0] is None
    host.scene.RemoveNode(volume)
    assert not seen
    assert own.GetDisplayNode() is None
    assert own.GetSegmentation().GetSegmentIDs() == ("tumour",)


def test_the_next_case_is_edited_although_a_batch_was_under_way(host, editor, show_result):
    add_own(host)
    in_batch(host, show_result)
    assert edited(host) == (editor.scene.segmentation, editor.scene.scan)


def test_segments_are_neither_added_nor_removed_by_buttons(editor):
    buttons = [slicer.util.findChild(editor.section.editor, f"{text}SegmentButton") for text in ("Add", "Remove")]
    assert not any(button.visible for button in buttons)


def counted(host, section) -> dict[str, int]:
    """What could grow with every case."""
    gc.collect()
    scene, node = host.scene, editing.editor_node(host.scene)
    return {
        "nodes": scene.GetNumberOfNodes(),
        "observers of the scene": str(scene).count("Priority"),
        "observers of the editor's node": str(node).count("Priority"),
        "widgets": len(slicer.util.findChildren(section.editor)),
        "steps": len(section.session.history.done),
    }


def test_nothing_grows_from_case_to_case(host, editor, show_result):
    section, logic = editor.section, editor.section.editor._logic
    seen = []
    for _case in range(12):
        editor.choose("organ")
        editor.erase((26, 7, 11), 5.0)
        editor.paint((26, 7, 11), 5.0)
        assert len(editor.session.history.done) == 2
        assert not logic.CanUndo()
        assert not logic.CanRedo()
        show_result()
        editor.desktop.process_events()
        seen.append(counted(host, section))
    assert seen[-1] == seen[1]
    assert seen[-1]["observers of the scene"] > 0
