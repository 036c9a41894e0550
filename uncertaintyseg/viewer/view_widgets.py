"""The widgets around views that a layout manager hands out, with what modules ask them for.

They stand in for the classes of the same names in qMRML; behind them are the views of `views.py` and `plot_view.py`.
"""

from __future__ import annotations

from types import SimpleNamespace

import slicer
import vtk


class _Widget:
    """A view's widget: what a module asks it for."""

    visible = property(lambda self: bool(self._view.node.IsMappedInLayout()))

    def __init__(self, view: object) -> None:
        self._view = view

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.window

    def interactor(self) -> vtk.vtkRenderWindowInteractor:
        return self._view.interactor

    def renderer(self) -> vtk.vtkRenderer:
        return self._view.renderer

    def cornerAnnotation(self) -> vtk.vtkCornerAnnotation:
        """Return the text in the corners, where Slicer writes what it knows of patient and study."""
        return self._view.corner_annotation

    def forceRender(self) -> None:
        self._view.render()

    def scheduleRender(self) -> None:
        """Nothing: a view draws itself whenever its picture is wanted."""

    def displayableManagerByClassName(self, name: str) -> slicer.vtkMRMLAbstractDisplayableManager:
        return self._view.managers.GetDisplayableManagerByClassName(name)


class _SliceViewWidget(_Widget):
    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def convertXYZToRAS(self, xyz: tuple[float, float, float]) -> list[float]:
        return list(self._view.node.GetXYToRAS().MultiplyPoint((*xyz, 1.0))[:3])

    def convertRASToXYZ(self, ras: tuple[float, float, float]) -> list[float]:
        ras_to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._view.node.GetXYToRAS(), ras_to_xy)
        return list(ras_to_xy.MultiplyPoint((*ras, 1.0))[:3])


class SliceWidget(_Widget):
    """qMRMLSliceWidget."""

    def sliceView(self) -> _SliceViewWidget:
        return _SliceViewWidget(self._view)

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._view.logic

    def sliceController(self) -> SimpleNamespace:
        return SimpleNamespace(fitSliceToBackground=self.fitSliceToBackground, sliceLogic=self.sliceLogic)

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        return self._view.composite_node

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()


class _ThreeDViewWidget(_Widget):
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

    def threeDView(self) -> _ThreeDViewWidget:
        return _ThreeDViewWidget(self._view)

    def mrmlViewNode(self) -> slicer.vtkMRMLViewNode:
        return self._view.node


class _PlotViewWidget(_Widget):
    def mrmlPlotViewNode(self) -> slicer.vtkMRMLPlotViewNode:
        return self._view.node

    def chart(self) -> vtk.vtkChartXY:
        return self._view.chart

    def fitToContent(self) -> None:
        self._view.chart.RecalculateBounds()

    def repaint(self) -> None:
        self._view.render()


class PlotWidget(_Widget):
    """qMRMLPlotWidget."""

    def plotView(self) -> _PlotViewWidget:
        return _PlotViewWidget(self._view)

    def mrmlPlotViewNode(self) -> slicer.vtkMRMLPlotViewNode:
        return self._view.node
