"""The part above a threshold: the same voxels as the map's, in the right place, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from UncertaintySegLib.scene import nodes
from UncertaintySegLib.scene.abstention import ROLE, Abstention


@pytest.fixture
def risk(host, shown_case):
    return shown_case.maps["predictive_entropy"]


@pytest.fixture
def abstention(host, risk):
    shown = Abstention(host.scene)
    shown.follow(risk)
    return shown


def voxels(abstention) -> vtk.vtkDataArray:
    image = abstention.segmentation.GetSegmentation().GetNthSegment(0).GetRepresentation("Fractional labelmap")
    return image.GetPointData().GetScalars()


def is_marked(image: np.ndarray) -> np.ndarray:
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return (blue - red > 80) & (blue - green > 80)


def test_no_voxel_is_copied_and_none_at_the_threshold_shows(host, abstention, risk, shown_case):
    """The slice through one voxel, at a threshold that it just passes and at one that it is."""
    assert voxels(abstention) is risk.GetImageData().GetPointData().GetScalars()
    shown_case.show_map(None)
    shown_case.segmentation.GetDisplayNode().SetVisibility(False)
    values = slicer.util.arrayFromVolume(risk)
    place = np.unravel_index(values.argmax(), values.shape)
    view = host.slice_view("Red")
    view.fit()
    ras = nodes.ijk_to_ras(risk) @ (*place[::-1], 1.0)
    view.jump_to(ras[:3])
    abstention.set_opacity(1.0)
    abstention.show(True)
    row, column = view.pixel_of(ras[:3])
    at = float(values[place])
    for threshold, shows in ((np.nextafter(at, 0.0), True), (at, False), (at + 1e-9, False)):
        abstention.set_threshold(threshold)
        assert is_marked(view.image())[row, column] == shows


def test_new_voxels_of_the_map_are_followed(abstention, risk):
    other = vtk.vtkImageData()
    other.DeepCopy(risk.GetImageData())
    risk.SetAndObserveImageData(other)
    before = abstention.segmentation
    abstention.follow(risk)
    assert abstention.segmentation is before
    assert voxels(abstention) is other.GetPointData().GetScalars()


def test_a_transform_of_the_scan_moves_it_too(host, abstention, risk):
    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    risk.SetAndObserveTransformNodeID(transform.GetID())
    abstention.follow(risk)
    abstention.update_surface()
    assert abstention.segmentation.GetTransformNodeID() == transform.GetID()
    assert abstention.surface.GetTransformNodeID() == transform.GetID()


def test_the_surface_holds_the_volume_above_the_threshold(abstention, risk):
    abstention.set_threshold(0.3)
    abstention.update_surface()
    measured = vtk.vtkMassProperties()
    measured.SetInputData(abstention.surface.GetPolyData())
    voxels = (slicer.util.arrayFromVolume(risk) > 0.3).sum()
    assert measured.GetVolume() == pytest.approx(voxels * np.prod(risk.GetSpacing()), rel=0.1)
    bounds, image_bounds = np.zeros(6), np.zeros(6)
    abstention.surface.GetRASBounds(bounds)
    risk.GetRASBounds(image_bounds)
    assert (bounds[::2] > image_bounds[::2]).all()
    assert (bounds[1::2] < image_bounds[1::2]).all()


def test_nothing_above_the_threshold_is_an_empty_surface(abstention):
    abstention.set_threshold(10.0)
    abstention.update_surface()
    assert abstention.surface.GetPolyData().GetNumberOfCells() == 0


def test_at_the_border_of_the_scan_the_surface_is_closed(host, abstention):
    values = slicer.util.addVolumeFromArray(
        np.ones((6, 7, 8), np.float32), nodeClassName="vtkMRMLScalarVolumeNode", name="all risky"
    )
    nodes.mark(values, "case", "map")
    abstention.follow(values)
    abstention.set_threshold(0.5)
    abstention.update_surface()
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(abstention.surface.GetPolyData())
    edges.FeatureEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0


def test_layers_of_the_slice_views_and_the_3d_views_are_left_alone(host, abstention):
    composite = host.slice_view("Red").composite_node
    layers = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()
    abstention.show(True)
    host.three_d_view().image()
    assert layers == (
        *(composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()),
    )
    assert not abstention.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_it_is_kept_out_of_lists_and_files_and_leaves_nothing(host, abstention):
    before = host.scene.GetNumberOfNodes()
    abstention.show(True)
    abstention.update_surface()
    for node in nodes.marked(host.scene, ROLE):
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()
    abstention.clear()
    assert nodes.marked(host.scene, ROLE) == []
    assert host.scene.GetNumberOfNodes() < before


def test_a_deleted_node_harms_nothing(host, abstention, risk):
    host.scene.RemoveNode(abstention.segmentation)
    abstention.set_threshold(0.4)
    abstention.show(True)
    abstention.update_surface()
    abstention.set_color((1.0, 1.0, 1.0))
    assert not abstention.is_shown
    abstention.follow(risk)
    abstention.show(True)
    assert abstention.is_shown
    abstention.segmentation.GetSegmentation().RemoveAllSegments()
    abstention.set_threshold(0.3)
    abstention.set_color((1.0, 1.0, 1.0))
    abstention.follow(risk)
    assert voxels(abstention) is risk.GetImageData().GetPointData().GetScalars()
