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


def composite(host):
    return host.slice_view("Red").composite_node


def test_no_voxel_is_copied_and_none_at_the_threshold_shows(abstention, risk):
    assert abstention.volume.GetImageData() is risk.GetImageData()
    values = slicer.util.arrayFromVolume(risk)
    at = float(np.sort(values[values > 0.2].ravel())[0])
    abstention.set_threshold(at)
    lowest = abstention.volume.GetScalarVolumeDisplayNode().GetLowerThreshold()
    np.testing.assert_array_equal(values >= lowest, values > at)


def test_new_voxels_of_the_map_are_followed(abstention, risk):
    other = vtk.vtkImageData()
    other.DeepCopy(risk.GetImageData())
    risk.SetAndObserveImageData(other)
    before = abstention.volume
    abstention.follow(risk)
    assert abstention.volume is before
    assert abstention.volume.GetImageData() is other


def test_a_transform_of_the_scan_moves_it_too(host, abstention, risk):
    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    risk.SetAndObserveTransformNodeID(transform.GetID())
    abstention.follow(risk)
    abstention.update_surface()
    assert abstention.volume.GetTransformNodeID() == transform.GetID()
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


def test_a_label_volume_of_the_users_own_comes_back(host, abstention):
    own = slicer.util.addVolumeFromArray(
        np.ones((4, 4, 4), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode", name="mine"
    )
    composite(host).SetLabelVolumeID(own.GetID())
    abstention.show(False)
    assert composite(host).GetLabelVolumeID() == own.GetID()
    abstention.show(True)
    assert composite(host).GetLabelVolumeID() == abstention.volume.GetID()
    abstention.show(False)
    assert composite(host).GetLabelVolumeID() == own.GetID()


def test_it_is_kept_out_of_lists_and_files_and_leaves_nothing(host, abstention):
    before = host.scene.GetNumberOfNodes()
    abstention.show(True)
    abstention.update_surface()
    for node in nodes.marked(host.scene, ROLE):
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()
    abstention.clear()
    assert nodes.marked(host.scene, ROLE) == []
    assert composite(host).GetLabelVolumeID() is None
    assert host.scene.GetNumberOfNodes() < before


def test_a_deleted_node_harms_nothing(host, abstention, risk):
    host.scene.RemoveNode(abstention.volume)
    abstention.set_threshold(0.4)
    abstention.show(True)
    abstention.update_surface()
    abstention.set_color((1.0, 1.0, 1.0))
    assert not abstention.is_shown
    abstention.follow(risk)
    abstention.show(True)
    assert abstention.is_shown
