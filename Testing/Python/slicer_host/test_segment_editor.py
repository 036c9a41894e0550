from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from slicer_host.desktop import erase, paint


class Editor:
    """A segment editor on two segments: `organ`, which is empty, and `region`, a box."""

    def __init__(self, host, ramp) -> None:
        self.ramp = ramp
        self.segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ramp)
        for name in ("organ", "region"):
            self.segmentation.GetSegmentation().AddEmptySegment(name, name)
        self.box = np.zeros(slicer.util.arrayFromVolume(ramp).shape, np.uint8)
        self.box[15:25, 20:30, 20:40] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(self.box, self.segmentation, "region", ramp)
        self.node = host.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.node.SetOverwriteMode(self.node.OverwriteNone)
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMRMLSegmentEditorNode(self.node)
        self.widget.setMRMLScene(host.scene)
        self.widget.setSegmentationNode(self.segmentation)
        self.widget.setSourceVolumeNode(ramp)

    def organ(self) -> np.ndarray:
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, "organ", self.ramp)

    def close(self) -> None:
        self.widget.setMRMLSegmentEditorNode(None)
        self.widget.deleteLater()


@pytest.fixture
def editor(desktop, host, ramp):
    editor = Editor(host, ramp)
    yield editor
    editor.close()


def ball(editor, ras, radius_mm) -> np.ndarray:
    k, j, i = np.indices(editor.box.shape)
    distance = np.linalg.norm(np.stack([i - 30, j - 25, k - 20], axis=-1) - ras, axis=-1)
    return (distance <= radius_mm).astype(np.uint8)


def test_the_first_segment_is_selected(editor):
    assert editor.widget.currentSegmentID() == "organ"
    assert editor.node.GetSegmentationNode() is editor.segmentation
    assert editor.node.GetSourceVolumeNode() is editor.ramp


def test_painting_adds_a_ball_and_erasing_takes_one(editor):
    paint(editor.widget, (3.0, 1.0, 0.0), 6.0)
    np.testing.assert_array_equal(editor.organ(), ball(editor, (3, 1, 0), 6))
    erase(editor.widget, (3.0, 1.0, 0.0), 3.0)
    np.testing.assert_array_equal(editor.organ(), ball(editor, (3, 1, 0), 6) - ball(editor, (3, 1, 0), 3))


def test_undo_and_redo(editor):
    paint(editor.widget, (0.0, 0.0, 0.0), 4.0)
    painted = editor.organ().copy()
    editor.widget.undo()
    assert not editor.organ().any()
    editor.widget.redo()
    np.testing.assert_array_equal(editor.organ(), painted)


def test_edits_stay_inside_the_segment_that_the_rule_names(editor):
    editor.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.node.SetMaskSegmentID("region")
    paint(editor.widget, (0.0, 0.0, 0.0), 8.0)
    np.testing.assert_array_equal(editor.organ(), ball(editor, (0, 0, 0), 8) & editor.box)


def test_edits_stay_inside_the_intensity_range(editor):
    editor.node.SourceVolumeIntensityMaskOn()
    editor.node.SetSourceVolumeIntensityMaskRange(30, 59)
    paint(editor.widget, (0.0, 0.0, 0.0), 5.0)
    assert editor.organ()[:, :, 30:].any()
    assert not editor.organ()[:, :, :30].any()


def test_painting_over_another_segment_takes_its_voxels_only_if_allowed(editor):
    paint(editor.widget, (0.0, 0.0, 0.0), 4.0)
    region = slicer.util.arrayFromSegmentBinaryLabelmap(editor.segmentation, "region", editor.ramp)
    np.testing.assert_array_equal(region, editor.box)
    editor.node.SetOverwriteMode(editor.node.OverwriteAllSegments)
    paint(editor.widget, (0.0, 0.0, 0.0), 4.0)
    region = slicer.util.arrayFromSegmentBinaryLabelmap(editor.segmentation, "region", editor.ramp)
    np.testing.assert_array_equal(region, editor.box * (1 - ball(editor, (0, 0, 0), 4)))


def test_only_the_wanted_effects_are_offered(editor):
    from PySide6 import QtTest, QtWidgets
    from PySide6.QtCore import Qt

    editor.widget.setEffectNameOrder(["Paint", "Erase"])
    editor.widget.unorderedEffectsVisible = False
    editor.widget.show()
    (effects,) = slicer.util.findChildren(editor.widget, name="EffectsGroupBox")
    buttons = {button.text: button for button in effects.findChildren(QtWidgets.QToolButton) if button.visible}
    assert list(buttons) == ["Paint", "Erase"]
    QtTest.QTest.mouseClick(buttons["Erase"], Qt.LeftButton)
    assert editor.widget.activeEffect().name == "Erase"
    assert editor.node.GetActiveEffectName() == "Erase"


def test_keys_undo(editor, desktop):
    editor.widget.installKeyboardShortcuts()
    paint(editor.widget, (0.0, 0.0, 0.0), 4.0)
    desktop.press_key("Ctrl+Z")
    assert not editor.organ().any()
    editor.widget.uninstallKeyboardShortcuts()
