"""An off-screen plot view: draws a real `vtkMRMLPlotChartNode` with VTK's own charts, as qMRMLPlotView does."""

from __future__ import annotations

import slicer
import vtk

from headless_slicer.views import Picture

_AXES = {vtk.vtkAxis.LEFT: "YAxis", vtk.vtkAxis.BOTTOM: "XAxis"}


class PlotView(Picture):
    """One plot view. `node` is its real MRML plot view node, `chart` the `vtkChartXY` that draws it."""

    def __init__(self, scene: slicer.vtkMRMLScene, name: str, size: tuple[int, int]) -> None:
        self.scene = scene
        self._context = vtk.vtkContextView()
        self.window = self._context.GetRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = self._context.GetRenderer()
        self.interactor = self._context.GetInteractor()
        self.chart = vtk.vtkChartXY()
        self._context.GetScene().AddItem(self.chart)
        self.node = scene.GetSingletonNode(name, "vtkMRMLPlotViewNode")
        if self.node is None:
            self.node = slicer.vtkMRMLPlotViewNode()
            self.node.SetSingletonTag(name)
            self.node.SetLayoutName(name)
            scene.AddNode(self.node)
        self.reset()

    def reset(self) -> None:
        """Show the view, as far as closing a scene hid it."""
        self.node.SetMappedInLayout(1)

    def resize(self, width: int, height: int) -> None:
        """Give the view another size in pixels."""
        self.window.SetSize(width, height)

    def render(self) -> None:
        """Draw the chart as the scene now is."""
        self.chart.ClearPlots()
        chart = self.scene.GetNodeByID(self.node.GetPlotChartNodeID() or "")
        if chart is not None:
            for index in range(chart.GetNumberOfPlotSeriesNodes()):
                self._add_series(chart.GetNthPlotSeriesNode(index))
            self._label(chart)
        self.window.Render()

    def _label(self, chart: slicer.vtkMRMLPlotChartNode) -> None:
        self.chart.SetTitle((chart.GetTitle() or "") if chart.GetTitleVisibility() else "")
        self.chart.GetTitleProperties().SetFontSize(chart.GetTitleFontSize())
        self.chart.SetShowLegend(bool(chart.GetLegendVisibility()))
        for place, axis in _AXES.items():
            drawn = self.chart.GetAxis(place)
            visible = getattr(chart, f"Get{axis}TitleVisibility")()
            drawn.SetTitle((getattr(chart, f"Get{axis}Title")() or "") if visible else "")
            drawn.GetTitleProperties().SetFontSize(chart.GetAxisTitleFontSize())
            drawn.GetLabelProperties().SetFontSize(chart.GetAxisLabelFontSize())
            drawn.SetGridVisible(bool(chart.GetGridVisibility()))
            if getattr(chart, f"Get{axis}RangeAuto")():
                drawn.SetBehavior(vtk.vtkAxis.AUTO)
            else:
                drawn.SetBehavior(vtk.vtkAxis.FIXED)
                drawn.SetRange(*getattr(chart, f"Get{axis}Range")())
        self.chart.RecalculateBounds()

    def _add_series(self, series: slicer.vtkMRMLPlotSeriesNode | None) -> None:
        table = series.GetTableNode() if series is not None else None
        y = series.GetYColumnName() if table is not None else ""
        x = (series.GetXColumnName() if series.IsXColumnRequired() else y) if y else ""
        if not (x and y) or not all(table.GetTable().GetColumnByName(name) for name in (x, y)):
            return
        bars = series.GetPlotType() in (series.PlotTypeBar, series.PlotTypeScatterBar)
        plot = self.chart.AddPlot(vtk.vtkChart.BAR if bars else vtk.vtkChart.LINE)
        plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
        plot.SetInputData(table.GetTable(), x, y)
        plot.SetColorF(*series.GetColor())
        plot.SetWidth(series.GetLineWidth())
        plot.SetLabel(series.GetName())
        plot.GetPen().SetOpacityF(series.GetOpacity())
        if not bars:
            plot.GetPen().SetLineType(_line_type(series))
            plot.SetMarkerStyle(series.GetMarkerStyle())
            plot.SetMarkerSize(series.GetMarkerSize())


def _line_type(series: slicer.vtkMRMLPlotSeriesNode) -> int:
    """Return VTK's number for the line style; both count them in the same order."""
    return vtk.vtkPen.NO_PEN + series.GetLineStyle()
