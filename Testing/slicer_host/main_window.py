"""Slicer's main window: the module's panel on the left, the views of the layout on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from headless_slicer.application import Host
from headless_slicer.layout import Rectangle
from slicer_host.module_manager import ModuleSelector
from slicer_host.scriptable import stand_in

_BAR = 20  # pixels
_GAP = 1


class ViewArea(QtWidgets.QWidget):
    """The views of the layout, each under its thin bar, as pictures that `take` brings up to date."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._pictures: list[tuple[slicer.vtkMRMLAbstractViewNode, Rectangle, QtGui.QImage]] = []

    def take(self) -> None:
        """Draw every view in the size that it has here."""
        size = self.size
        self._pictures = []
        for node, (left, top, width, height) in self._host.layout.rectangles(size.width(), size.height()).items():
            view = self._host.layout.view_of(node)
            if view is not None:
                view.resize(width - _GAP, height - _BAR - _GAP)
                self._pictures.append((node, (left, top, width, height), _image(view.image())))
        self.update()

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect, QtGui.QColor(60, 60, 60))
        for node, (left, top, width, _height), image in self._pictures:
            self._paint_bar(painter, node, QtCore.QRect(left, top, width - _GAP, _BAR))
            painter.drawImage(left, top + _BAR, image)

    def _paint_bar(self, painter: QtGui.QPainter, node: slicer.vtkMRMLAbstractViewNode, place: QtCore.QRect) -> None:
        is_slice = node.IsA("vtkMRMLSliceNode")
        color = QtGui.QColor.fromRgbF(*node.GetLayoutColor()) if is_slice else QtGui.QColor(112, 128, 184)
        painter.fillRect(place, color)
        painter.setPen(QtCore.Qt.black if color.lightness() > 140 else QtCore.Qt.white)
        inside = place.adjusted(6, 0, -6, 0)
        painter.drawText(inside, QtCore.Qt.AlignVCenter, node.GetLayoutLabel() or node.GetLayoutName())
        if is_slice:
            text = f"{node.GetOrientation()}  {node.GetSliceOffset():.1f} mm"
            painter.drawText(inside, QtCore.Qt.AlignVCenter | QtCore.Qt.AlignRight, text)


@stand_in("qSlicerMainWindow")
class MainWindow(QtWidgets.QMainWindow):
    """The window without menus and tool bars; `Desk` puts things into it."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.statusBar()
        self._selector = ModuleSelector()

    def moduleSelector(self) -> ModuleSelector:
        return self._selector


class Desk:
    """What the host does with the main window.

    Args:
        host: Whose views it shows.

    Attributes:
        window: What a module sees of it.
    """

    def __init__(self, host: Host) -> None:
        self.window = MainWindow()
        self._views = ViewArea(host)
        self.window.setCentralWidget(self._views)
        self._panel = QtWidgets.QScrollArea()
        self._panel.setWidgetResizable(True)
        self._panel.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        dock = QtWidgets.QDockWidget()
        dock.setObjectName("PanelDockWidget")
        dock.setTitleBarWidget(QtWidgets.QWidget())
        dock.setWidget(self._panel)
        self.window.addDockWidget(QtCore.Qt.LeftDockWidgetArea, dock)

    def show_panel(self, panel: QtWidgets.QWidget, width: int) -> None:
        """Put a module's panel into the module area."""
        self._panel.setWidget(panel)
        self._panel.setFixedWidth(width)
        panel.show()

    def take_panel(self) -> QtWidgets.QWidget:
        """Take the panel out of the module area and return it."""
        return self._panel.takeWidget()

    def screenshot(self, path: str | Path, size: tuple[int, int]) -> Path:
        """Write the whole window as an image file, its views drawn in the size that they have in it."""
        self.window.resize(*size)
        self.window.show()
        QtCore.QCoreApplication.processEvents()
        self._views.take()
        self.window.grab().save(str(path))
        return Path(path)


def _image(pixels: np.ndarray) -> QtGui.QImage:
    height, width, _ = pixels.shape
    data = np.ascontiguousarray(pixels).tobytes()
    return QtGui.QImage(data, width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
