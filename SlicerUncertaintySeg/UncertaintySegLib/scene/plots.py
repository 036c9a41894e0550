"""Charts in a scene: their tables and series, private to the module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer
import vtk

from UncertaintySegLib.scene import nodes

FONTS = {"Title": 13, "AxisTitle": 11, "AxisLabel": 10, "Legend": 9}  # points: plot views are small


class PlotNodes:
    """Makes the nodes of charts, and takes them away.

    Args:
        scene: Where they go.
        role: What they are marked with.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, role: str) -> None:
        self.scene, self.role = scene, role

    def chart(self, case: str, name: str, title: str, x_title: str, y_title: str) -> slicer.vtkMRMLPlotChartNode:
        """Return a new chart without a series."""
        node = self._add("vtkMRMLPlotChartNode", case, name)
        node.SetTitle(title)
        node.SetXAxisTitle(x_title)
        node.SetYAxisTitle(y_title)
        for what, points in FONTS.items():
            getattr(node, f"Set{what}FontSize")(points)
        return node

    def table(self, case: str, name: str, columns: Mapping[str, Sequence[float]]) -> slicer.vtkMRMLTableNode:
        """Return a new table of numbers, by the name of the column."""
        node = self._add("vtkMRMLTableNode", case, name)
        table = vtk.vtkTable()
        for column_name, values in columns.items():
            column = vtk.vtkDoubleArray()
            column.SetName(column_name)
            for value in values:
                column.InsertNextValue(float(value))
            table.AddColumn(column)
        node.SetAndObserveTable(table)
        return node

    def series(
        self,
        chart: slicer.vtkMRMLPlotChartNode,
        name: str,
        table: slicer.vtkMRMLTableNode,
        columns: tuple[str, str],
        color: tuple[float, float, float],
        *,
        line: str = "Solid",
        marker: str = "None",
    ) -> slicer.vtkMRMLPlotSeriesNode:
        """Add a series to a chart: two columns of a table, drawn as a line or as marks."""
        series = self._add("vtkMRMLPlotSeriesNode", chart.GetAttribute(nodes.CASE), name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(columns[0])
        series.SetYColumnName(columns[1])
        series.SetPlotType(series.PlotTypeScatter)
        series.SetLineStyle(getattr(series, f"LineStyle{line if marker == 'None' else 'None'}"))
        series.SetMarkerStyle(getattr(series, f"MarkerStyle{marker}"))
        series.SetMarkerSize(13)
        series.SetLineWidth(2)
        series.SetColor(*color)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return series

    def clear(self) -> None:
        """Remove the nodes from the scene; views that show one of the charts show none."""
        ours = nodes.marked(self.scene, self.role)
        for view in views(self.scene):
            if any(view.GetPlotChartNodeID() == node.GetID() for node in ours):
                view.SetPlotChartNodeID(None)
        for node in ours:
            nodes.remove(self.scene, node)

    def _add(self, class_name: str, case: str, name: str) -> slicer.vtkMRMLNode:
        node = self.scene.AddNewNodeByClass(class_name, name)
        nodes.mark_private(node, case, self.role)
        return node


def views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLPlotViewNode]:
    """Return all plot views that there are, shown or not."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLPlotViewNode") for index in range(count)]


def fill(table: slicer.vtkMRMLTableNode, values: Sequence[float]) -> None:
    """Put one number into each whole column of a table, from the first on."""
    contents = table.GetTable()
    for column, value in enumerate(values):
        contents.GetColumn(column).Fill(value)
        contents.GetColumn(column).Modified()
    contents.Modified()
    table.Modified()
