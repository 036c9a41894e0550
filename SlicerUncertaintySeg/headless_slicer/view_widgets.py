"""The widgets around views that a layout manager hands out, with what modules ask them for.

They stand in for the classes of the same names in qMRML; behind them are the views of `views.py` and `plot_view.py`.
"""

from __future__ import annotations

import slicer
import vtk


class _Widget:
    """A widget around a view."""

    visible = property(lambda self: bool(self._view.node.IsMappedInLayout()))

    def __init__(self, view: object) -> None:
        self._view = view


class _ViewWidget(_Widget):
    """The view itself."""

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.window

    def interactor(self) -> vtk.vtkRenderWindowInteractor:
        return self._view.interactor

    def cornerAnnotation(self) -> vtk.vtkCornerAnnotation:
        """Return the text in the corners, where Slicer writes what it knows of patient and study."""
        return self._view.corner_annotation

    def forceRender(self) -> None:
        self._view.render()

    def scheduleRender(self) -> None:
        """Nothing: a view draws itself whenever its picture is wanted."""

    def displayableManagerByClassName(self, name: str) -> slicer.vtkMRMLAbstractDisplayableManager:
        return self._view.managers.GetDisplayableManagerByClassName(name)


class SliceView(_ViewWidget):
    """qMRMLSliceView."""

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def convertXYZToRAS(self, xyz: tuple[float, float, float]) -> list[float]:
        return list(self._view.node.GetXYToRAS().MultiplyPoint((*xyz, 1.0))[:3])

    def convertRASToXYZ(self, ras: tuple[float, float, float]) -> list[float]:
        ras_to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._view.node.GetXYToRAS(), ras_to_xy)
        return list(ras_to_xy.MultiplyPoint((*ras, 1.0))[:3])


class SliceControllerWidget(_Widget):
    """qMRMLSliceControllerWidget."""

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._view.logic

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()


class SliceWidget(_Widget):
    """qMRMLSliceWidget."""

    def sliceView(self) -> SliceView:
        return SliceView(self._view)

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._view.logic

    def sliceController(self) -> SliceControllerWidget:
        return SliceControllerWidget(self._view)

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        return self._view.composite_node

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()


class ThreeDView(_ViewWidget):
    """qMRMLThreeDView."""

    def mrmlViewNode(self) -> slicer.vtkMRMLViewNode:
        return self._view.node

    def cameraNode(self) -> slicer.vtkMRMLCameraNode:
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(self._view.node)

    def resetFocalPoint(self) -> None:
        self._view.settle()
        bounds = self._view.renderer.ComputeVisiblePropBounds()
        if bounds[0] <= bounds[1]:
            centre = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
            self._view.renderer.GetActiveCamera().SetFocalPoint(centre)

    def resetCamera(self) -> None:
        self._view.fit()


class ThreeDWidget(_Widget):
    """qMRMLThreeDWidget."""

    def threeDView(self) -> ThreeDView:
        return ThreeDView(self._view)

    def mrmlViewNode(self) -> slicer.vtkMRMLViewNode:
        return self._view.node


class PlotView(_Widget):
    """qMRMLPlotView."""

    def chart(self) -> vtk.vtkChartXY:
        return self._view.chart

    def fitToContent(self) -> None:
        self._view.chart.RecalculateBounds()

    def repaint(self) -> None:
        self._view.render()


class PlotWidget(_Widget):
    """qMRMLPlotWidget."""

    def plotView(self) -> PlotView:
        return PlotView(self._view)

    def mrmlPlotViewNode(self) -> slicer.vtkMRMLPlotViewNode:
        return self._view.node
