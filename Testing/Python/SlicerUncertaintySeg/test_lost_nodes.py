"""Nodes that go while they are used, and the scene with them: one sentence, nothing lost, no traceback."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.whole_panel import STAY
from UncertaintySegLib.scene import nodes

_MIDDLE = (26, 20, 11)  # voxel of the organ


def show_all(user) -> None:
    """Have everything in the scene that the module can put there."""
    risk, selection = user.ui("Risk"), user.ui("Selection")
    user.desktop.process_events()
    risk.structureComboBox.setCurrentIndex(1)
    for check_box in (risk.boundaryCheckBox, risk.surfaceCheckBox, risk.glowCheckBox, selection.fillCheckBox):
        check_box.setChecked(True)
    selection.outlineCheckBox.setChecked(True)
    risk.whereComboBox.setCurrentIndex(2)
    user.press("Risk", "shapesButton")
    user.key("N")
    user.key("C")
    user.click_at(_MIDDLE)
    user.wait()


def find(user, kind: str) -> list:
    """Return the nodes of a kind: our own by their role, Slicer's by their class."""
    scene = user.host.scene
    if not kind.startswith("vtk"):
        return nodes.marked(scene, kind)
    found = scene.GetNodesByClass(kind)
    found.UnRegister(None)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]


@pytest.mark.parametrize(
    "kinds",
    [
        ("scan",),
        ("segmentation",),
        ("vtkMRMLSegmentationDisplayNode",),
        ("map", "abstention", "boundaries", "risk surface", "restricted map", "volume rendering"),
        ("region box", "clicks", "flip-book", "vtkMRMLSegmentEditorNode", "vtkMRMLColorLegendDisplayNode"),
    ],
    ids=lambda kinds: kinds[0],
)
def test_whatever_is_deleted_every_key_and_button_still_works_or_says_why_not(user, full_server, kinds):
    user.begin(full_server.url)
    show_all(user)
    user.paint((10, 10, 5))
    drawn = user.drawn()
    for kind in kinds:
        gone = find(user, kind)
        assert gone, kind
        for node in gone:
            user.host.scene.RemoveNode(node)
    user.desktop.process_events()
    user.press_everything(STAY)
    kept = user.drafts() if user.scene.segmentation is None or user.edit.editing.ids is None else [user.drawn()]
    assert any(np.array_equal(label, drawn) for label in kept)
    user.press_everything(only=STAY)


def test_the_colours_of_the_maps_come_back_when_somebody_deletes_their_table(user, full_server):
    user.begin(full_server.url)
    user.watch.vtk_expected = True  # Slicer's own legend misses the table before we do
    user.host.scene.RemoveNode(user.host.scene.GetFirstNodeByName("Uncertainty"))
    user.key("M")
    user.key("M")
    assert user.scene.drawn.GetDisplayNode().GetColorNode().GetName() == "Uncertainty"
    user.press_everything()


@pytest.mark.parametrize("kind", ["segmentation", "scan"])
def test_what_was_drawn_on_a_node_that_was_deleted_is_a_draft(user, full_server, kind):
    user.begin(full_server.url)
    user.paint((10, 10, 5))
    drawn = user.drawn()
    user.host.scene.RemoveNode(find(user, kind)[0])
    user.desktop.process_events()
    assert user.status.startswith("The segmentation or its scan is no longer in the scene. What you drew is kept")
    user.open("phantom_1")
    user.press("Edit", "restoreButton")
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.press("Edit", "submitButton")
    assert "is saved" in user.status


def test_a_draft_restored_without_a_model_can_be_edited_and_undone(user, full_server):
    user.begin(full_server.url)
    user.paint((10, 10, 5))
    drawn = user.drawn()
    user.desktop.answers.buttons.append("Ok")
    user.open("phantom_1")
    full_server.delays["/uncertainty/v1/results"] = 0.5
    user.start("Edit", "restoreButton")
    user.paint((30, 30, 15))  # before the server says anything of the draft
    full_server.delays.clear()
    user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk estimated"))
    user.key("Z")
    user.wait()
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.press_everything()
