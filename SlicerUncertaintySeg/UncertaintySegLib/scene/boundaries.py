"""How small and how large a structure may be: outlines of where its probability passes two levels."""

from __future__ import annotations

import numpy as np
import slicer

from UncertaintySegLib.scene import masks, nodes
from UncertaintySegLib.server.sizes import ML

ROLE = "boundaries"
_WHITE = 0.6  # how much lighter than the structure
_DISPLAY = {"at least": 0.95, "at most": 0.6}


class Boundaries:
    """The least and the most that a structure plausibly is, as thin outlines in a segmentation of their own.

    Args:
        scene: Where they are shown.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.segmentation: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def is_there(self) -> bool:
        """Whether the outlines are in the scene."""
        return self.segmentation is not None and self.segmentation.GetScene() is self.scene

    def show(
        self,
        name: str,
        color: tuple[float, float, float],
        probability: slicer.vtkMRMLScalarVolumeNode,
        levels: tuple[float, float],
        unit: str = ML,
    ) -> tuple[float, float]:
        """Outline where a structure's probability passes the levels, in place of the outlines before.

        Args:
            name: Of the structure.
            color: Of the structure; the outlines are lighter.
            probability: Its map.
            levels: Low and high, in (0, 1]: it is at most where the probability reaches the low one, and at least
                where it reaches the high one.
            unit: Of sizes, see `masks.voxel_size`.

        Returns:
            The sizes of the least and the most.
        """
        node = self._node(probability)
        contents = node.GetSegmentation()
        contents.RemoveAllSegments()
        values = slicer.util.arrayFromVolume(probability)
        lighter = tuple(part + _WHITE * (1 - part) for part in color)
        volumes = []
        for what, level in zip(("at least", "at most"), reversed(levels)):
            mask = values >= level
            volumes.append(np.count_nonzero(mask) * masks.voxel_size(probability, unit))
            contents.AddSegment(masks.new_segment(f"{name} {what}", lighter, mask, probability), what)
            nodes.display(node).SetSegmentOpacity2DOutline(what, _DISPLAY[what])
        return volumes[0], volumes[1]

    def clear(self) -> None:
        """Remove the outlines from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.segmentation = None

    def _node(self, probability: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
        if not self.is_there:
            case = probability.GetAttribute(nodes.CASE)
            node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{case} plausible boundaries")
            nodes.mark_private(node, case, ROLE)
            node.CreateDefaultDisplayNodes()
            node.SetReferenceImageGeometryParameterFromVolumeNode(probability)
            node.GetDisplayNode().SetOpacity2DFill(0.0)
            node.GetDisplayNode().SetVisibility3D(False)
            node.GetDisplayNode().SetSliceIntersectionThickness(1)
            self.segmentation = node
        self.segmentation.SetAndObserveTransformNodeID(probability.GetTransformNodeID())
        return self.segmentation
