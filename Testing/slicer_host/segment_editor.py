"""The Segment Editor's widget over Slicer's own segment editor logic, which does the masking and keeps the history.

The effects are not in the wheel: a test draws with `strokes`.
"""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.effects import EFFECTS, Effect
from slicer_host.node_combo_box import qMRMLNodeComboBox
from slicer_host.scriptable import stand_in
from slicer_host.segments_table import qMRMLSegmentsTableView

_COLUMNS = 5
_SHORTCUTS = {"Ctrl+Z": "undo", "Ctrl+Y": "redo"}


def _flag(name: str, first: object) -> Property:
    """Return a Qt property that is only remembered."""
    return Property(
        type(first), lambda self: self._flags.get(name, first), lambda self, value: self._flags.update({name: value})
    )


@stand_in("qMRMLSegmentEditorWidget")
class qMRMLSegmentEditorWidget(QtWidgets.QWidget):
    """The editor that a module puts into its panel."""

    currentSegmentIDChanged = Signal(str)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._flags: dict[str, object] = {}
        self._order: tuple[str, ...] = ()
        self._unordered = True
        self._shortcuts: list[QtGui.QShortcut] = []
        self._observation: tuple[vtk.vtkObject, int] | None = None
        self._scene: slicer.vtkMRMLScene | None = None
        self._source: slicer.vtkMRMLScalarVolumeNode | None = None
        self._segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMaximumNumberOfUndoStates(10)
        self._logic.AddObserver(slicer.vtkSlicerSegmentEditorLogic.SegmentationHistoryChangedEvent, self._on_history)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._segments = qMRMLSegmentsTableView()
        self._segments.setObjectName("SegmentsTableView")
        self._segments.setMaximumHeight(90)
        self._segments.selectionChanged.connect(self._on_selection)
        effects = QtWidgets.QFrame()
        effects.setObjectName("EffectsGroupBox")
        self._effects = QtWidgets.QGridLayout(effects)
        self._effects.setContentsMargins(0, 0, 0, 0)
        self._segmentations = _selector("SegmentationNodeComboBox", "vtkMRMLSegmentationNode", none=False)
        self._segmentations.currentNodeChanged.connect(self._on_segmentation_chosen)
        self._sources = _selector("SourceVolumeNodeComboBox", "vtkMRMLScalarVolumeNode", none=True)
        self._sources.currentNodeChanged.connect(self._on_source_chosen)
        self._add, self._remove = (_button(f"{text}SegmentButton", text) for text in ("Add", "Remove"))
        self._add.clicked.connect(lambda: self._logic.AddEmptySegment("", 0))
        self._remove.clicked.connect(self._logic.RemoveSelectedSegment)
        buttons = QtWidgets.QHBoxLayout()
        buttons.addWidget(self._add)
        buttons.addWidget(self._remove)
        history = QtWidgets.QHBoxLayout()
        layout.addWidget(self._segmentations)
        layout.addWidget(self._sources)
        layout.addLayout(buttons)
        layout.addWidget(self._segments)
        layout.addWidget(effects)
        layout.addLayout(history)
        self._undo_button, self._redo_button = QtWidgets.QToolButton(), QtWidgets.QToolButton()
        for button, name, act in (self._undo_button, "Undo", self.undo), (self._redo_button, "Redo", self.redo):
            button.setObjectName(f"{name}Button")
            button.setText(name)
            button.clicked.connect(act)
            history.addWidget(button)
        self.updateEffectList()
        self._on_history()

    readOnly = _flag("readOnly", False)
    effectColumnCount = _flag("effectColumnCount", 2)
    autoShowSourceVolumeNode = _flag("autoShowSourceVolumeNode", True)
    jumpToSelectedSegmentEnabled = _flag("jumpToSelectedSegmentEnabled", False)
    switchToSegmentationsButtonVisible = _flag("switchToSegmentationsButtonVisible", True)

    def setReadOnly(self, value: bool) -> None:
        self.readOnly = value

    def setSourceVolumeNodeSelectorVisible(self, value: bool) -> None:
        self._sources.setVisible(value)

    sourceVolumeNodeSelectorVisible = Property(
        bool, lambda self: not self._sources.isHidden(), setSourceVolumeNodeSelectorVisible
    )

    def setSegmentationNodeSelectorVisible(self, value: bool) -> None:
        self._segmentations.setVisible(value)

    segmentationNodeSelectorVisible = Property(
        bool, lambda self: not self._segmentations.isHidden(), setSegmentationNodeSelectorVisible
    )

    def segmentationNodeSelectorAddAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        self._segmentations.addAttribute(node_type, name, value)

    def segmentationNodeSelectorRemoveAttribute(self, node_type: str, name: str) -> None:
        self._segmentations.removeAttribute(node_type, name)

    def setAddRemoveSegmentButtonsVisible(self, value: bool) -> None:
        self._add.setVisible(value)
        self._remove.setVisible(value)

    addRemoveSegmentButtonsVisible = Property(
        bool, lambda self: not (self._add.isHidden() or self._remove.isHidden()), setAddRemoveSegmentButtonsVisible
    )

    def setSwitchToSegmentationsButtonVisible(self, value: bool) -> None:
        self.switchToSegmentationsButtonVisible = value

    def _set_unordered(self, visible: bool) -> None:
        self._unordered = visible
        self.updateEffectList()

    unorderedEffectsVisible = Property(bool, lambda self: self._unordered, _set_unordered)

    def setUndoEnabled(self, enabled: bool) -> None:
        self._undo_button.setVisible(enabled)
        self._redo_button.setVisible(enabled)

    undoEnabled = Property(bool, lambda self: not self._undo_button.isHidden(), setUndoEnabled)

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(count)

    maximumNumberOfUndoStates = Property(
        int, lambda self: self._logic.GetMaximumNumberOfUndoStates(), setMaximumNumberOfUndoStates
    )

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = tuple(names)
        self.updateEffectList()

    def effectNameOrder(self) -> tuple[str, ...]:
        return self._order

    def availableEffectNames(self) -> tuple[str, ...]:
        return EFFECTS

    def updateEffectList(self) -> None:
        while self._effects.count():
            self._effects.takeAt(0).widget().setParent(None)
        rest = [name for name in EFFECTS if name not in self._order] if self._unordered else []
        for index, name in enumerate([name for name in self._order if name in EFFECTS] + rest):
            button = QtWidgets.QToolButton()
            button.setText(name)
            button.setObjectName(name)
            button.setCheckable(True)
            button.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
            button.clicked.connect(lambda checked, name=name: self.setActiveEffectByName(name if checked else ""))
            self._effects.addWidget(button, index // _COLUMNS, index % _COLUMNS)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        for selector in (self._segmentations, self._sources):
            before = selector.blockSignals(True)  # they choose a node by themselves
            selector.setMRMLScene(scene)
            selector.blockSignals(before)
        self._logic.SetMRMLScene(scene)
        self._scene = scene
        self.updateWidgetFromMRML()
        if scene is not None:
            events = {"EndCloseEvent": self._on_end_close, "EndBatchProcessEvent": self._on_end_batch}
            tags = [scene.AddObserver(getattr(scene, event), act) for event, act in events.items()]
            self.destroyed.connect(lambda: [scene.RemoveObserver(tag) for tag in tags])

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        return self._logic.GetSegmentEditorNode()

    def setMRMLSegmentEditorNode(self, node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        if self._observation is not None:
            self._observation[0].RemoveObserver(self._observation[1])
        self._logic.SetSegmentEditorNode(node)
        self._observation = (
            (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.updateWidgetFromMRML()))
            if node is not None
            else None
        )
        self.updateWidgetFromMRML()

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._segmentations.currentNode()

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        if self._logic.GetSegmentationNode() is not node:
            self._logic.SetSegmentationNode(node)
            self.setActiveEffect(None)

    def setSegmentationNodeID(self, node_id: str) -> None:
        self.setSegmentationNode(slicer.mrmlScene.GetNodeByID(node_id))

    def sourceVolumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._sources.currentNode()

    def setSourceVolumeNode(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self._logic.SetSourceVolumeNode(node)

    def setSourceVolumeNodeID(self, node_id: str) -> None:
        self.setSourceVolumeNode(slicer.mrmlScene.GetNodeByID(node_id))

    def currentSegmentID(self) -> str:
        node = self.mrmlSegmentEditorNode()
        return (node.GetSelectedSegmentID() or "") if node is not None else ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._logic.SetCurrentSegmentID(segment_id)
        self.updateWidgetFromMRML()
        self.currentSegmentIDChanged.emit(segment_id)

    def selectSegmentAtOffset(self, offset: int) -> None:
        """As in Slicer: hidden segments are passed over, the first one comes after the last, and none before it."""
        display = self.segmentationNode().GetDisplayNode() if self.segmentationNode() is not None else None
        ids = self._segments.displayedSegmentIDs()
        if display is None or self.currentSegmentID() not in ids:
            return
        row = ids.index(self.currentSegmentID())
        for _step in ids:
            row = max(0, row + offset) % len(ids)
            if display.GetSegmentVisibility(ids[row]):
                self.setCurrentSegmentID(ids[row])
                return

    def selectPreviousSegment(self) -> None:
        self.selectSegmentAtOffset(-1)

    def selectNextSegment(self) -> None:
        self.selectSegmentAtOffset(1)

    def effectByName(self, name: str) -> Effect | None:
        return Effect(name, self) if name in EFFECTS else None

    def activeEffect(self) -> Effect | None:
        node = self.mrmlSegmentEditorNode()
        return self.effectByName(node.GetActiveEffectName() or "") if node is not None else None

    def setActiveEffect(self, effect: Effect | None) -> None:
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name: str) -> None:
        node = self.mrmlSegmentEditorNode()
        if node is not None:
            node.SetActiveEffectName(name if name in EFFECTS else "")
        self.updateWidgetFromMRML()

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def setupViewObservations(self) -> None:
        """Nothing: effects are not here to be told of the mouse."""

    removeViewObservations = setupViewObservations

    def installKeyboardShortcuts(self, parent: QtWidgets.QWidget | None = None) -> None:
        self.uninstallKeyboardShortcuts()
        for keys, method in _SHORTCUTS.items():
            shortcut = QtGui.QShortcut(QtGui.QKeySequence(keys), parent or slicer.util.mainWindow())
            shortcut.activated.connect(getattr(self, method))
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()

    def updateWidgetFromMRML(self) -> None:
        scene, node = self._scene, self.mrmlSegmentEditorNode()
        if scene is None or scene.IsClosing() or scene.IsBatchProcessing() or node is None:
            return
        self._follow_segmentation()
        self._follow_source()
        self._add.setEnabled(bool(self._logic.CanAddSegments()))
        self._remove.setEnabled(bool(self.currentSegmentID()))
        active = self.activeEffect()
        for index in range(self._effects.count()):
            button = self._effects.itemAt(index).widget()
            button.setChecked(active is not None and button.text == active.name)
        before = self._segments.blockSignals(True)
        self._segments.setSegmentationNode(self.segmentationNode())
        self._segments.setSelectedSegmentIDs([self.currentSegmentID()])
        self._segments.blockSignals(before)

    def _follow_segmentation(self) -> None:
        """Do to a segmentation that has just been chosen, and to the views, what the real editor does."""
        node = self._logic.GetSegmentationNode()
        _choose_quietly(self._segmentations, node)
        if node is self._segmentation:
            return
        self._segmentation = node
        if node is not None:
            self._sources.setCurrentNode(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()))
            node.CreateDefaultDisplayNodes()
            ids = node.GetSegmentation().GetSegmentIDs()
            if ids:
                self._logic.SetCurrentSegmentID(ids[0])
            self._hide_label_layer()
        self.segmentationNodeChanged.emit(node)

    def _follow_source(self) -> None:
        node = self._logic.GetSourceVolumeNode()
        if self._logic.GetSegmentationNode() is not None and node is not self._source:
            self._source = node
            _choose_quietly(self._sources, node)
            self.sourceVolumeNodeChanged.emit(node)

    def _on_segmentation_chosen(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._scene is not None and not self._scene.IsBatchProcessing():
            self.setSegmentationNode(node)

    def _on_source_chosen(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._scene is not None and not self._scene.IsBatchProcessing():
            self.setSourceVolumeNode(node)

    def _on_end_close(self, *_event: object) -> None:
        self.updateWidgetFromMRML()

    def _on_end_batch(self, *_event: object) -> None:
        """Take what the selectors have chosen meanwhile, by themselves it may be."""
        node = self.mrmlSegmentEditorNode()
        if node is not None:
            if node.GetSegmentationNode() is not self._segmentations.currentNode():
                self.setSegmentationNode(self._segmentations.currentNode())
            if node.GetSourceVolumeNode() is not self._sources.currentNode():
                self.setSourceVolumeNode(self._sources.currentNode())
        self.updateWidgetFromMRML()

    def _hide_label_layer(self) -> None:
        logics = slicer.app.applicationLogic().GetSliceLogics()
        for index in range(logics.GetNumberOfItems()):
            logic = logics.GetItemAsObject(index)
            if self._logic.IsSegmentationDisplayableInView(logic.GetSliceNode()):
                logic.GetSliceCompositeNode().SetLabelVolumeID(None)

    def _on_selection(self, *_selection: object) -> None:
        for segment_id in self._segments.selectedSegmentIDs():
            self.setCurrentSegmentID(segment_id)

    def _on_history(self, *_event: object) -> None:
        self._undo_button.setEnabled(bool(self._logic.CanUndo()))
        self._redo_button.setEnabled(bool(self._logic.CanRedo()))


def _selector(name: str, node_type: str, *, none: bool) -> qMRMLNodeComboBox:
    selector = qMRMLNodeComboBox()
    selector.setObjectName(name)
    selector.nodeTypes = [node_type]
    selector.noneEnabled = none
    return selector


def _choose_quietly(selector: qMRMLNodeComboBox, node: slicer.vtkMRMLNode | None) -> None:
    before = selector.blockSignals(True)
    selector.setCurrentNode(node)
    selector.blockSignals(before)


def _button(name: str, text: str) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(text)
    button.setObjectName(name)
    return button
