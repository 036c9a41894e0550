"""Files to nodes and nodes to files, over the real storage nodes: what `slicer.util.loadVolume` and its kin call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

from slicer_host.scriptable import stand_in

_KINDS = {
    "VolumeFile": "vtkMRMLScalarVolumeNode",
    "SegmentationFile": "vtkMRMLSegmentationNode",
    "MarkupsFile": "vtkMRMLMarkupsFiducialNode",
    "ModelFile": "vtkMRMLModelNode",
    "TableFile": "vtkMRMLTableNode",
    "ColorTableFile": "vtkMRMLColorTableNode",
}
_SUFFIXES = {
    ".seg.nrrd": "SegmentationFile",
    ".mrk.json": "MarkupsFile",
    ".vtk": "ModelFile",
    ".stl": "ModelFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".ctbl": "ColorTableFile",
}


@stand_in("qSlicerCoreIOManager")
class CoreIOManager:
    """For files of one node each, and for .mrml scenes."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    def fileType(self, path: str) -> str:
        return next((kind for suffix, kind in _SUFFIXES.items() if str(path).endswith(suffix)), "VolumeFile")

    def fileWriterFileType(self, node: slicer.vtkMRMLNode, _format: str = "") -> str:
        return next((kind for kind, class_name in _KINDS.items() if node.IsA(class_name)), "NoFile")

    def loadNodes(
        self, kind: str, properties: dict[str, Any], loaded: vtk.vtkCollection | None = None, _messages: object = None
    ) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            self._scene.SetURL(path)
            return bool(self._scene.Connect() if properties.get("clear") else self._scene.Import())
        labels = kind == "VolumeFile" and properties.get("labelmap")
        name = self._scene.GenerateUniqueName(properties.get("name") or Path(path).name.split(".")[0])
        node = self._scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode" if labels else _KINDS[kind], name)
        node.AddDefaultStorageNode(path)
        if not self._read(node, path):
            self._scene.RemoveNode(node.GetStorageNode())
            self._scene.RemoveNode(node)
            return False
        if node.IsA("vtkMRMLDisplayableNode"):
            node.CreateDefaultDisplayNodes()
        if kind == "VolumeFile" and properties.get("show", True):
            slicer.util.setSliceViewerLayers(**{"label" if labels else "background": node}, fit=True)
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def saveNodes(self, kind: str, properties: dict[str, Any], _messages: object = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return bool(self._scene.Commit(path))
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def _read(self, node: slicer.vtkMRMLStorableNode, path: str) -> bool:
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if not Path(path).is_file() or not storage.ReadData(node):
            return False
        return not node.IsA("vtkMRMLVolumeNode") or node.GetImageData() is not None
