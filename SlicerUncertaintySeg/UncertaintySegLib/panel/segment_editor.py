"""Slicer's own Segment Editor inside the panel."""

from __future__ import annotations

import uuid

import slicer

from UncertaintySegLib.logic import keyboard
from UncertaintySegLib.scene import editing

_OFFERED = "UncertaintySeg.Offered"


def create(scene: slicer.vtkMRMLScene):
    """Return a `qMRMLSegmentEditorWidget` that has nothing to edit yet.

    Its own undo is off: what is drawn is undone in one order with clicks and decisions, see `logic.undo`.
    Its own shortcuts are not installed, see `panel.tools`.
    """
    editor = slicer.qMRMLSegmentEditorWidget()
    _offer(editor, None)
    editor.setMRMLSegmentEditorNode(editing.editor_node(scene))
    editor.setMRMLScene(scene)
    editor.segmentationNodeSelectorVisible = False
    editor.sourceVolumeNodeSelectorVisible = False
    editor.switchToSegmentationsButtonVisible = False
    editor.autoShowSourceVolumeNode = False  # the views already show the scan, and a map over it
    editor.maximumNumberOfUndoStates = 0
    editor.undoEnabled = False
    editor.addRemoveSegmentButtonsVisible = False  # a label has the model's structures, neither more nor fewer
    editor.setEffectNameOrder(list(keyboard.TOOLS))
    editor.unorderedEffectsVisible = False
    for table in slicer.util.findChildren(editor, name="SegmentsTableView"):
        table.setHideSegments([editing.SEGMENT])
    return editor


def show(editor, segmentation, scan) -> None:
    """Edit a segmentation, reading the scan; None takes it away."""
    node = editing.editor_node(slicer.mrmlScene)
    if editor.mrmlSegmentEditorNode() is not node:
        editor.setMRMLSegmentEditorNode(node)
    if node.GetSegmentationNode() is not segmentation:
        _offer(editor, segmentation)
        editor.setSegmentationNode(segmentation)
    if node.GetSourceVolumeNode() is not scan:
        editor.setSourceVolumeNode(scan)


def release(editor) -> None:
    """Let go of nodes that are about to leave the scene."""
    editor.setActiveEffect(None)
    editor.setSegmentationNode(None)
    editor.setSourceVolumeNode(None)
    _offer(editor, None)


def _offer(editor, segmentation) -> None:
    """Let the editor's own selector, which is hidden, offer this segmentation only, or none.

    It takes the first that it offers, and after a batch of changes to the scene the editor edits what it has taken.
    """
    mark = uuid.uuid4().hex
    if segmentation is not None:
        segmentation.SetAttribute(_OFFERED, mark)
    editor.segmentationNodeSelectorAddAttribute("vtkMRMLSegmentationNode", _OFFERED, mark)
