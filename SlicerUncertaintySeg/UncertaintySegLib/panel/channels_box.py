"""A volume for each further channel of a model that takes several; of one channel there is nothing to choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.scene import intake

_BESIDE_TEXT = 4
"""Pixels that a label may take beside its text."""


class ChannelsBox:
    """Fills a widget with one selector a channel, the first left out.

    Args:
        widget: Has a form layout, and is hidden where there is one channel.
        chosen: Called when another volume is chosen for a channel.
    """

    def __init__(self, widget: qt.QWidget, chosen: Callable[[], None]) -> None:
        self.widget = widget
        self.names: tuple[str, ...] = ()
        self.selectors: dict[str, slicer.qMRMLNodeComboBox] = {}
        self._chosen = chosen
        self._sent: dict[str, dict[str, str]] = {}
        widget.setVisible(False)

    def show(self, names: Sequence[str]) -> None:
        """Offer the channels of a model, the first of which is chosen elsewhere."""
        if tuple(names) == self.names:
            return
        self.names, layout = tuple(names), self.widget.layout()
        while layout.count():
            old = layout.takeAt(0).widget()
            old.hide()  # it goes only when Qt has nothing else to do
            old.deleteLater()
        self.selectors = {name: self._selector(name) for name in names[1:]}
        for name, selector in self.selectors.items():
            layout.addRow(qt.QLabel(f"{name}:"), selector)
        self.widget.setVisible(len(names) > 1)

    def align(self, *labels: qt.QLabel) -> None:
        """Have the selectors begin where the fields of a form around them do, whose labels these are."""
        layout = self.widget.layout()
        both = [*labels, *(layout.labelForField(selector) for selector in self.selectors.values())]
        width = max(label.fontMetrics().horizontalAdvance(label.text) for label in both)
        for label in both:
            label.setMinimumWidth(width + _BESIDE_TEXT)

    def propose(self, first: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Choose what was sent with the first channel before, else volumes that have the channels' names in theirs."""
        if first is None or not self.selectors:
            return
        sent = self._sent.get(first.GetID(), {})
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        guessed = intake.channels_by_name(list(self.selectors), [node for node in volumes if node is not first])
        for name, selector in self.selectors.items():
            before = slicer.mrmlScene.GetNodeByID(sent[name]) if name in sent else None
            if before is not None or selector.currentNode() in (None, first):
                selector.setCurrentNode(before or guessed.get(name))

    def volumes(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode | None]:
        """Return what is chosen, by the channel's name."""
        return {name: selector.currentNode() for name, selector in self.selectors.items()}

    def remember(self, first: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Keep what is sent with a first channel."""
        self._sent[first.GetID()] = {name: node.GetID() for name, node in self.volumes().items() if node is not None}

    def _selector(self, name: str) -> slicer.qMRMLNodeComboBox:
        selector = slicer.qMRMLNodeComboBox()
        selector.objectName = f"{name}Channel"
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.addEnabled = selector.removeEnabled = False
        selector.noneEnabled = True
        selector.setMRMLScene(slicer.mrmlScene)
        selector.setToolTip(
            _("The {channel} of the same patient, on the grid of the first channel.").format(channel=name)
        )
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_arguments: self._chosen())
        return selector
