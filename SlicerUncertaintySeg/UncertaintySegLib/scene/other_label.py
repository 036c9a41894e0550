"""Another label of the scan, as thin outlines over what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import slicer

from UncertaintySegLib.scene import nodes, segments
from UncertaintySegLib.server.replies import Label

ROLE = "other label"
_WHITE = (255, 255, 255)  # no structure has it


class OtherLabel:
    """Shows a label file beside the segmentation of the case; nobody can edit or save it.

    Args:
        scene: Where it is shown.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.node: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def is_there(self) -> bool:
        """Whether it is in the scene."""
        return self.node is not None and self.node.GetScene() is self.scene

    def show(self, path: Path, labels: Sequence[Label], reference: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a label in white, in place of the one before.

        Args:
            path: Of its file.
            labels: Of all numbers in it.
            reference: The scan.

        Raises:
            SceneError: The file is no label of these on the scan's grid; nothing is shown then.
        """
        self.clear()
        case = reference.GetAttribute(nodes.CASE) or reference.GetName()
        white = [replace(label, rgb=_WHITE) for label in labels]
        self.node = segments.read_segmentation(self.scene, path, white, f"{case} other version", reference)
        nodes.mark_private(self.node, case, ROLE)
        self.node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        display = self.node.GetDisplayNode()
        display.SetOpacity2DFill(0.0)
        display.SetOpacity2DOutline(0.7)
        display.SetSliceIntersectionThickness(1)
        display.SetVisibility3D(False)

    def set_visible(self, visible: bool) -> None:
        """Show or hide it."""
        if self.is_there:
            nodes.display(self.node).SetVisibility(visible)

    def clear(self) -> None:
        """Remove it from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.node = None
