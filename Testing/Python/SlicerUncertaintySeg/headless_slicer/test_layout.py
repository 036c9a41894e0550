from __future__ import annotations

import numpy as np
import pytest
import slicer

SAMPLES = 700
DESCRIPTION = """
<layout type="vertical" split="true">
  <item splitSize="700"><layout type="horizontal">
    <item><view class="vtkMRMLSliceNode" singletontag="Sample1">
      <property name="orientation" action="default">Sagittal</property>
      <property name="viewlabel" action="default">S1</property>
    </view></item>
    <item><view class="vtkMRMLViewNode" singletontag="2"/></item>
  </layout></item>
  <item splitSize="300"><view class="vtkMRMLPlotViewNode" singletontag="PlotView1"/></item>
</layout>"""


@pytest.fixture
def manager(host):
    host.layout.show()
    node = host.layout.logic.GetLayoutNode()
    if not node.IsLayoutDescription(SAMPLES):
        node.AddLayoutDescription(SAMPLES, DESCRIPTION)
    return slicer.app.layoutManager()


@pytest.fixture
def chart(host, manager):
    """A plot of y = x squared in the custom layout."""
    manager.setLayout(SAMPLES)
    table = host.scene.AddNewNodeByClass("vtkMRMLTableNode")
    x = np.linspace(0, 1, 20)
    slicer.util.updateTableFromArray(table, (x, x**2), ("x", "y"))
    series = host.scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "error")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName("x")
    series.SetYColumnName("y")
    series.SetColor(1, 0, 0)
    chart = host.scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    manager.plotWidget(0).mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    return chart


def mapped(host) -> set[str]:
    nodes = [host.scene.GetNthNode(index) for index in range(host.scene.GetNumberOfNodes())]
    return {node.GetLayoutName() for node in nodes if node.IsA("vtkMRMLAbstractViewNode") and node.IsMappedInLayout()}


def test_the_first_layout_is_slicers_four_up(host, manager):
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert {"Red", "Yellow", "Green"} <= set(manager.sliceViewNames())
    assert manager.threeDViewCount >= 1
    assert mapped(host) == {"Red", "Yellow", "Green", "1"}
    assert manager.sliceWidget("Red").mrmlSliceNode().GetLayoutLabel() == "R"


def test_a_layout_of_ones_own_brings_its_views(host, manager):
    changes = []
    manager.layoutChanged.connect(changes.append)
    manager.setLayout(SAMPLES)
    manager.layoutChanged.disconnect(changes.append)
    assert changes == [SAMPLES]
    assert mapped(host) == {"Sample1", "2", "PlotView1"}
    assert manager.sliceWidget("Sample1").mrmlSliceNode().GetOrientation() == "Sagittal"
    assert manager.threeDWidget(1).mrmlViewNode().GetLayoutName() == "2"
    assert manager.plotViewCount == 1


def test_the_views_of_a_layout_lie_where_it_says(host, manager):
    manager.setLayout(SAMPLES)
    places = {node.GetLayoutName(): place for node, place in host.layout.rectangles(1000, 600).items()}
    assert places == {"Sample1": (0, 0, 500, 420), "2": (500, 0, 500, 420), "PlotView1": (0, 420, 1000, 180)}


def test_clearing_goes_back_to_the_first_layout(host, manager):
    manager.setLayout(SAMPLES)
    host.clear()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert mapped(host) == {"Red", "Yellow", "Green", "1"}


def test_slice_widgets_convert_positions(manager, view):
    widget = manager.sliceWidget("Red").sliceView()
    xyz = widget.convertRASToXYZ((12.0, -3.0, 0.0))
    row, column = view.pixel_of((12.0, -3.0, 0.0))
    assert (round(xyz[0]), view.window.GetSize()[1] - 1 - round(xyz[1])) == (column, row)
    assert widget.convertXYZToRAS(xyz) == pytest.approx([12.0, -3.0, 0.0])


def test_slicers_own_helpers_find_the_views(manager, ramp):
    slicer.util.setSliceViewerLayers(background=ramp, fit=True)
    slicer.util.forceRenderAllViews()
    slicer.util.resetThreeDViews()
    for name in manager.sliceViewNames():
        assert manager.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() == ramp.GetID()


def test_the_camera_of_the_3d_view_turns_about_what_is_seen(host, manager, ramp):
    display = slicer.modules.volumerendering.logic().CreateDefaultVolumeRenderingNodes(ramp)
    display.SetVisibility(True)
    view = manager.threeDWidget(0).threeDView()
    view.resetFocalPoint()
    assert view.cameraNode().GetFocalPoint() == pytest.approx((0, 0, 0), abs=10)


def test_a_plot_view_draws_its_chart(host, chart):
    view = host.plot_view()
    red = (view.image() == (255, 0, 0)).all(axis=-1)
    rows, columns = np.nonzero(red)
    assert red.sum() > 100
    assert rows[columns < 150].mean() > rows[columns > 350].mean()


def test_an_empty_plot_view_is_white(host, manager):
    manager.setLayout(SAMPLES)
    assert (host.plot_view().image() > 200).all()
