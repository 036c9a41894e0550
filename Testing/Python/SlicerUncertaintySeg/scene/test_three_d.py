"""Risk in 3D, looked at by the point and by the pixel."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from UncertaintySegLib.scene import surfaces, volume_rendering
from UncertaintySegLib.scene.colors import heat_scale
from UncertaintySegLib.scene.surfaces import RiskSurface


def ids(case) -> list[str]:
    return list(case.segmentation.GetSegmentation().GetSegmentIDs())


def at_points(case, points: np.ndarray) -> np.ndarray:
    """Return the shown map at positions in mm (RAS), nearest voxel."""
    volume = case.maps[case.shown]
    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    ijk = np.c_[points, np.ones(len(points))] @ slicer.util.arrayFromVTKMatrix(matrix).T
    values = slicer.util.arrayFromVolume(volume)
    i, j, k = (
        np.clip(np.rint(axis).astype(int), 0, size - 1)
        for axis, size in zip(ijk.T[:3], values.shape[::-1], strict=True)
    )
    return values[k, j, i]


@pytest.fixture
def surface(host, shown_case):
    host.three_d_view()
    surface = RiskSurface(host.scene)
    surface.show(shown_case.segmentation, ids(shown_case), shown_case.maps["predictive_entropy"], 1.0)
    return surface


def test_the_surface_carries_the_maps_values_at_its_points(surface, shown_case):
    data = surface.model.GetPolyData()
    found = vtk_to_numpy(data.GetPointData().GetScalars())
    expected = at_points(shown_case, vtk_to_numpy(data.GetPoints().GetData()))
    assert np.corrcoef(found, expected)[0, 1] > 0.8
    assert np.abs(found - expected).mean() < 0.15
    assert data.GetPointData().GetScalars().GetName() == "phantom_1 predictive_entropy"


def test_many_structures_share_one_surface_around_them_all(shown_case, surface, monkeypatch):
    """Both balls of the phantom: the inner border between them is none of the outside."""
    apart = surface.model.GetPolyData()
    monkeypatch.setattr(surfaces, "_SEPARATE", 1)
    together = RiskSurface(shown_case.scene)
    together.show(shown_case.segmentation, ids(shown_case), shown_case.maps["predictive_entropy"], 1.0)
    around = together.model.GetPolyData()
    np.testing.assert_allclose(around.GetBounds(), apart.GetBounds(), atol=1.5)
    assert 0.6 * apart.GetNumberOfCells() < around.GetNumberOfCells() < apart.GetNumberOfCells()
    found = vtk_to_numpy(around.GetPointData().GetScalars())
    assert np.abs(found - at_points(shown_case, vtk_to_numpy(around.GetPoints().GetData()))).mean() < 0.15


def test_making_it_leaves_the_segmentation_without_a_surface_of_its_own(surface, shown_case):
    assert not shown_case.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert not shown_case.edited


def test_the_3d_view_shows_it_in_the_colours_of_the_scale(host, surface, shown_case, tmp_path):
    view = host.three_d_view()
    view.fit()
    image = view.image().astype(float)
    view.save_png(tmp_path / "surface.png")
    image = image[image[..., 0] - image[..., 2] > 25]
    assert len(image) > 200
    hues = image / image.sum(axis=1, keepdims=True)
    scale = heat_scale() / heat_scale().sum(axis=1, keepdims=True)
    distance = np.abs(hues[:, None] - scale[None]).sum(axis=-1).min(axis=1)
    assert np.median(distance) < 0.08, "lighting changes lightness only"


def test_only_the_chosen_structure_is_drawn_and_an_empty_one_draws_nothing(host, surface, shown_case):
    both = surface.model.GetPolyData().GetNumberOfPoints()
    surface.show(shown_case.segmentation, ids(shown_case)[1:], shown_case.maps["predictive_entropy"], 1.0)
    assert 0 < surface.model.GetPolyData().GetNumberOfPoints() < both / 2
    empty = shown_case.segmentation.GetSegmentation().AddEmptySegment("", "nothing")
    surface.show(shown_case.segmentation, [empty], shown_case.maps["predictive_entropy"], 1.0)
    assert surface.model.GetPolyData().GetNumberOfPoints() == 0
    surface.clear()
    assert not surface.is_there


def glow(view) -> int:
    image = view.image().astype(int)
    return int((image[..., 0] - image[..., 2] > 25).sum())


def test_volume_rendering_glows_above_the_threshold_only(host, shown_case, tmp_path):
    view = host.three_d_view()
    risk = shown_case.maps["predictive_entropy"]
    volume_rendering.show(risk, 0.05, 0.8)
    view.fit()
    much = glow(view)
    view.save_png(tmp_path / "glow.png")
    volume_rendering.show(risk, 0.6, 0.8)
    little = glow(view)
    assert much > 1000
    assert little < 0.9 * much
    volume_rendering.clear(host.scene)
    assert glow(view) == 0
    assert risk.GetScene() is host.scene


def test_renderings_go_with_the_case(host, shown_case):
    host.three_d_view()
    volume_rendering.show(shown_case.maps["predictive_entropy"], 0.05, 0.8)
    shown_case.clear()
    left = [host.scene.GetNthNode(i) for i in range(host.scene.GetNumberOfNodes())]
    assert not [
        node.GetName()
        for node in left
        if node.GetClassName().endswith(("RenderingDisplayNode", "VolumePropertyNode", "ROINode"))
    ]
    volume_rendering.clear(host.scene)
