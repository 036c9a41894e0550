"""The effects of the Segment Editor by name, which is all that there is of them here."""

from __future__ import annotations

import slicer

from slicer_host.scriptable import stand_in

EFFECTS = (
    *("Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin"),
    *("Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume"),
)


@stand_in("qSlicerSegmentEditorAbstractEffect")
class Effect:
    """A name and parameters, which the editor node keeps."""

    def __init__(self, name: str, editor: object) -> None:
        self._name, self._editor = name, editor

    name = property(lambda self: self._name)

    def setParameter(self, name: str, value: object) -> None:
        self._node().SetAttribute(f"{self.name}.{name}", str(value))

    def setCommonParameter(self, name: str, value: object) -> None:
        self._node().SetAttribute(name, str(value))

    def parameter(self, name: str) -> str:
        return self._node().GetAttribute(f"{self.name}.{name}") or ""

    def _node(self) -> slicer.vtkMRMLSegmentEditorNode:
        return self._editor.mrmlSegmentEditorNode()
