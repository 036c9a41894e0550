"""Points that ask a model for a structure: lists of Markups, one of each structure and one of what is none of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import clicks, nodes

ROLE = "prompt points"
_STRUCTURE = "UncertaintySeg.Structure"


class PromptPoints:
    """The points of the open case; those of a case go with it.

    Args:
        scene: Where they are.
        on_changed: Called after the user placed or removed one.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_changed: Callable[[], None]) -> None:
        self.scene, self._on_changed = scene, on_changed

    def list_of(
        self, case: str, structure: str, color: tuple[float, float, float]
    ) -> slicer.vtkMRMLMarkupsFiducialNode:
        """Return the list of a structure, made where there is none."""
        for node in self._nodes():
            if node.GetAttribute(_STRUCTURE) == structure:
                return node
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{case} {structure}")
        nodes.mark_private(node, case, ROLE)
        node.SetAttribute(_STRUCTURE, structure)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        for paint in (display.SetColor, display.SetSelectedColor):
            paint(*color)
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(False)
        for event in (node.PointPositionDefinedEvent, node.PointRemovedEvent):
            node.AddObserver(event, lambda *_event: self._on_changed())
        return node

    def counts(self) -> dict[str, int]:
        """Return how many points are placed of each structure that has some."""
        found = {node.GetAttribute(_STRUCTURE): len(clicks.placed(node)) for node in self._nodes()}
        return {structure: count for structure, count in found.items() if count}

    def voxels(self, scan: slicer.vtkMRMLScalarVolumeNode) -> list[dict[str, Any]]:
        """Return structure and voxel, IJK of the scan's file, of each point, as `params.prompts.points` has them.

        Raises:
            SceneError: One lies outside of the scan.
        """
        found = []
        for node in self._nodes():
            points = clicks.placed(node)
            if not points:
                continue
            structure = node.GetAttribute(_STRUCTURE)
            ijk = np.floor(clicks.file_ijk(clicks.Mark(0, clicks.POINTS, points), scan) + 0.5).astype(int)
            if ((ijk < 0) | (ijk >= scan.GetImageData().GetDimensions())).any():
                text = _("A prompt point of {structure} lies outside of the scan: move it there, or remove the points.")
                raise SceneError(text.format(structure=structure))
            found += [{"structure": structure, "voxel": voxel} for voxel in ijk.tolist()]
        return found

    def remove(self) -> None:
        """Remove all of them."""
        for node in self._nodes():
            nodes.remove(self.scene, node)

    def _nodes(self) -> list[slicer.vtkMRMLMarkupsFiducialNode]:
        return list(nodes.marked(self.scene, ROLE))
