"""Whole plausible segmentations to leaf through: a real sequence of Slicer's, the smallest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import slicer

from UncertaintySegLib.scene import nodes, segments
from UncertaintySegLib.server.replies import Label

ROLE = "flip-book"


class FlipBook:
    """Segmentations that a model finds plausible, of which one is shown at a time as thin outlines.

    The node that shows them is the proxy of a sequence browser, so Slicer's Sequences module and its toolbar leaf
    through them as well.

    Args:
        scene: Where they are shown.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.browser: slicer.vtkMRMLSequenceBrowserNode | None = None
        self._volumes: list[float] = []

    @property
    def is_there(self) -> bool:
        """Whether the sequence is in the scene."""
        return self.browser is not None and self.browser.GetScene() is self.scene

    @property
    def count(self) -> int:
        """How many segmentations there are."""
        return self.browser.GetNumberOfItems() if self.is_there else 0

    @property
    def page(self) -> int:
        """Which one is shown, from 0."""
        return self.browser.GetSelectedItemNumber() if self.is_there else 0

    @property
    def volume_ml(self) -> float:
        """Size of all structures of the one that is shown."""
        return self._volumes[self.page]

    @property
    def proxy(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The node that shows them."""
        return self.browser.GetProxyNode(self.browser.GetMasterSequenceNode()) if self.is_there else None

    def show(
        self,
        samples: Sequence[tuple[Path, Mapping[str, float]]],
        labels: Sequence[Label],
        reference: slicer.vtkMRMLScalarVolumeNode,
    ) -> None:
        """Make the flip-book of some label files and open its first page, in place of the one before.

        Args:
            samples: Label file, and size of each structure.
            labels: Names and ids of the structures.
            reference: The scan.

        Raises:
            SceneError: If a file is not a label of these structures; there is then no flip-book.
        """
        self.clear()
        case = reference.GetAttribute(nodes.CASE) or reference.GetName()  # a volume of the user's own has no mark
        sequence = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{case} plausible")
        nodes.mark_private(sequence, case, ROLE)
        sequence.SetIndexName("page")
        ordered = sorted(samples, key=lambda sample: sum(sample[1].values()))
        self._volumes = [sum(volumes.values()) for _path, volumes in ordered]
        for page, (path, _volumes) in enumerate(ordered):
            try:
                leaf = segments.read_segmentation(self.scene, path, labels, sequence.GetName(), reference)
            except Exception:
                self.clear()
                raise
            sequence.SetDataNodeAtValue(leaf, str(page))
            nodes.remove(self.scene, leaf)
        self.browser = self.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{case} flip-book")
        nodes.mark_private(self.browser, case, ROLE)
        self.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        self.open(0)
        self._style(case, reference)

    def open(self, page: int) -> None:
        """Show a page; after the last comes the first."""
        if self.count:
            self.browser.SetSelectedItemNumber(page % self.count)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)

    def clear(self) -> None:
        """Remove the flip-book from the scene."""
        for node in reversed(nodes.marked(self.scene, ROLE)):
            if node.GetScene() is self.scene:
                nodes.remove(self.scene, node)
        self.browser = None
        self._volumes = []

    def _style(self, case: str, reference: slicer.vtkMRMLScalarVolumeNode) -> None:
        proxy = self.proxy
        nodes.mark_private(proxy, case, ROLE)
        proxy.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        display = proxy.GetDisplayNode()
        display.SetOpacity2DFill(0.15)
        display.SetOpacity2DOutline(1.0)
        display.SetVisibility3D(False)
        display.SetSliceIntersectionThickness(1)
