"""qMRMLSegmentsTableView: the segments of a segmentation, less those that nobody is to see."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.scriptable import stand_in


@stand_in("qMRMLSegmentsTableView")
class qMRMLSegmentsTableView(QtWidgets.QWidget):
    """A list with names and colours; the columns are left out."""

    selectionChanged = Signal(object, object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self._hidden: tuple[str, ...] = ()
        self._list = QtWidgets.QListWidget()
        self._list.setObjectName("SegmentsTable")
        self._list.currentRowChanged.connect(lambda _row: self.selectionChanged.emit(None, None))
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list)

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._segmentation

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._segmentation = node
        self._refresh()

    def hideSegments(self) -> tuple[str, ...]:
        return self._hidden

    def setHideSegments(self, segment_ids: list[str]) -> None:
        self._hidden = tuple(segment_ids)
        self._refresh()

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._list.item(row).data(QtCore.Qt.UserRole) for row in range(self._list.count))

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        row = self._list.currentRow
        return self.displayedSegmentIDs()[row : row + 1] if row >= 0 else ()

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        shown = self.displayedSegmentIDs()
        self._list.setCurrentRow(shown.index(segment_ids[0]) if segment_ids and segment_ids[0] in shown else -1)

    segmentCount = Property(int, lambda self: self._list.count)

    def _refresh(self) -> None:
        before = self._list.blockSignals(True)
        self._list.clear()
        contents = self._segmentation.GetSegmentation() if self._segmentation is not None else None
        for segment_id in contents.GetSegmentIDs() if contents is not None else ():
            if segment_id in self._hidden:
                continue
            segment = contents.GetSegment(segment_id)
            item = QtWidgets.QListWidgetItem(segment.GetName())
            item.setData(QtCore.Qt.UserRole, segment_id)
            icon = QtGui.QPixmap(12, 12)
            icon.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
            item.setIcon(QtGui.QIcon(icon))
            self._list.addItem(item)
        self._list.blockSignals(before)
