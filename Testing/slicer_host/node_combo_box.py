"""qMRMLNodeComboBox: the nodes of a scene, of some classes, as a combo box that follows the scene."""

from __future__ import annotations

from functools import partial

import slicer
import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.scriptable import stand_in


@stand_in("qMRMLNodeComboBox")
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A node to choose. Adding, renaming and removing nodes from its menu is left out."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._observers: list[int] = []
        self._types: list[str] = []
        self._attributes: dict[str, tuple[str, str | None]] = {}
        self._current: slicer.vtkMRMLNode | None = None
        self._settings: dict[str, object] = {}
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo_box = QtWidgets.QComboBox()
        layout.addWidget(self._combo_box)
        self._combo_box.currentIndexChanged.connect(self._on_index)

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        for observer in self._observers:
            self._scene.RemoveObserver(observer)
        self._scene = scene
        self._observers = []
        if scene is not None:
            for event in ("EndBatchProcessEvent", "EndCloseEvent", "EndImportEvent"):
                self._observers.append(scene.AddObserver(getattr(scene, event), lambda *_: self._fill()))
            for event in ("NodeAddedEvent", "NodeRemovedEvent"):  # most are of nodes that it does not offer
                self._observers.append(scene.AddObserver(getattr(scene, event), self._on_node))
            self.destroyed.connect(partial(_stop_watching, scene, self._observers))
        self._fill()

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        self._attributes[node_type] = (name, value)  # one for each type
        self._fill()

    def removeAttribute(self, node_type: str, _name: str) -> None:
        self._attributes.pop(node_type, None)
        self._fill()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._current

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        self._choose(node if node in self._nodes() else None)

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None)

    def _set_node_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._fill()

    def _setting(name: str, first: object) -> Property:
        def write(self: qMRMLNodeComboBox, value: object) -> None:
            self._settings[name] = value
            self._fill()

        return Property(type(first), lambda self: self._settings.get(name, first), write)

    nodeTypes = Property("QStringList", lambda self: self._types, _set_node_types)
    currentNodeID = Property(
        str, lambda self: self._current.GetID() if self._current is not None else "", setCurrentNodeID
    )
    noneEnabled = _setting("noneEnabled", False)
    noneDisplay = _setting("noneDisplay", "")
    addEnabled = _setting("addEnabled", True)
    removeEnabled = _setting("removeEnabled", True)
    renameEnabled = _setting("renameEnabled", False)
    editEnabled = _setting("editEnabled", False)
    showHidden = _setting("showHidden", False)
    showChildNodeTypes = _setting("showChildNodeTypes", True)
    selectNodeUponCreation = _setting("selectNodeUponCreation", True)

    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        if self._scene is None:
            return []
        nodes = self._scene.GetNodesByClass(self._types[0] if len(self._types) == 1 else "vtkMRMLNode")
        nodes.UnRegister(None)
        return [node for node in nodes if self._accepts(node)]

    def _accepts(self, node: slicer.vtkMRMLNode) -> bool:
        shown = self.showHidden or not node.GetHideFromEditors()
        return shown and self._is_of_its_kinds(node) and self._has_attributes(node)

    def _is_of_its_kinds(self, node: slicer.vtkMRMLNode) -> bool:
        matches = node.IsA if self.showChildNodeTypes else node.GetClassName().__eq__
        return any(matches(kind) for kind in self._types)

    def _has_attributes(self, node: slicer.vtkMRMLNode) -> bool:
        wanted = [rule for kind, rule in self._attributes.items() if node.IsA(kind)]
        found = [(node.GetAttribute(name), value) for name, value in wanted]
        return all(has is not None and value in (None, has) for has, value in found)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node(self, _scene: object, _event: str, node: slicer.vtkMRMLNode) -> None:
        if self._is_of_its_kinds(node):
            self._fill()

    def _fill(self) -> None:
        nodes = self._nodes()
        before = self._combo_box.blockSignals(True)
        self._combo_box.clear()
        if self.noneEnabled or not nodes:
            self._combo_box.addItem(self.noneDisplay or ("None" if self.noneEnabled else "Select a node"), "")
        for node in nodes:
            self._combo_box.addItem(node.GetName(), node.GetID())
        self._combo_box.blockSignals(before)
        kept = self._current if self._current in nodes else None
        self._choose(nodes[0] if kept is None and nodes and not self.noneEnabled else kept)

    def _choose(self, node: slicer.vtkMRMLNode | None) -> None:
        before = self._combo_box.blockSignals(True)
        self._combo_box.setCurrentIndex(self._combo_box.findData(node.GetID() if node is not None else ""))
        self._combo_box.blockSignals(before)
        if node is not self._current:
            self._current = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(self.currentNodeID)

    def _on_index(self, index: int) -> None:
        self.setCurrentNodeID(self._combo_box.itemData(index))


def _stop_watching(scene: slicer.vtkMRMLScene, observers: list[int], *_arguments: object) -> None:
    for observer in observers:
        scene.RemoveObserver(observer)
