from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.conftest import riskiest_place
from UncertaintySegLib.scene import layouts, overlay
from UncertaintySegLib.scene.layouts import Layouts


@pytest.fixture
def arrangement(host, shown_case):
    arrangement = Layouts(host.scene)
    yield arrangement
    arrangement.restore()


def shown_names(host) -> set[str]:
    return {node.GetLayoutName() for node in host.layout.shown()}


@pytest.mark.parametrize(
    ("layout", "views"),
    [
        (layouts.ANNOTATOR, {"Red", "Yellow", "Green", "1"}),
        (layouts.RADIOLOGIST, {"Red", "Yellow", "Green", "1"}),
        (layouts.RADIOLOGIST_PLOT, {"Red", "Yellow", "Green", "1", "PlotView1"}),
        (layouts.COMPARE, {"Red", layouts.PLAIN_VIEW}),
    ],
)
def test_each_layout_has_its_views_linked_and_with_the_scan(host, arrangement, shown_case, layout, views):
    arrangement.show(layout)
    assert slicer.app.layoutManager().layout == layout
    assert shown_names(host) == views
    for composite in overlay.slice_composites(host.scene):
        assert composite.GetLinkedControl()
        assert composite.GetBackgroundVolumeID() == shown_case.scan.GetID()


def test_the_annotators_large_view_is_on_the_left(host, arrangement):
    arrangement.show(layouts.ANNOTATOR)
    places = {node.GetLayoutName(): place for node, place in host.layout.rectangles(1000, 600).items()}
    assert places["Red"] == (0, 0, 650, 600)
    assert all(places[name][2] == 350 for name in ("Yellow", "Green", "1"))


@pytest.mark.parametrize("layout", [layouts.RADIOLOGIST, layouts.RADIOLOGIST_PLOT])
def test_the_radiologists_slices_are_large_and_3d_is_small(host, arrangement, layout):
    arrangement.show(layout)
    areas = {
        node.GetLayoutName(): w * h / 600_000 for node, (_x, _y, w, h) in host.layout.rectangles(1000, 600).items()
    }
    slices = [areas.pop(name) for name in ("Red", "Yellow", "Green")]
    assert sum(slices) > 0.85
    assert max(areas.values()) < min(slices)


def test_comparing_shows_the_map_in_one_view_only(host, arrangement, shown_case):
    arrangement.show(layouts.COMPARE)
    shown_case.set_opacity(1.0)
    shown_case.show_map("predictive_entropy")
    shown_case.segmentation.GetDisplayNode().SetVisibility(False)
    pictures = {}
    for name in ("Red", layouts.PLAIN_VIEW):
        view = host.slice_view(name)
        view.fit()
        view.jump_to(riskiest_place(shown_case))
        pictures[name] = np.ptp(view.image().astype(int), axis=-1) > 12
    assert pictures["Red"].sum() > 500
    assert not pictures[layouts.PLAIN_VIEW].any()


def test_what_the_user_had_comes_back(host, arrangement):
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    red = host.slice_view("Red").composite_node
    red.SetLinkedControl(False)
    arrangement.show(layouts.ANNOTATOR)
    arrangement.show(layouts.COMPARE)
    arrangement.restore()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    assert not red.GetLinkedControl()
    assert arrangement.chosen is None
