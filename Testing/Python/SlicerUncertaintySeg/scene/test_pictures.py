"""What a person sees in the slice views, looked at by the pixel."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.conftest import riskiest_place
from UncertaintySegLib.scene.colors import heat_scale

VIEWS = ("Red", "Yellow", "Green")
LEGEND = (slice(80, 400), slice(420, 500))  # rows and columns of a 500 x 450 view where a legend has its place


@pytest.fixture
def views(host):
    return [host.slice_view(name) for name in VIEWS]


@pytest.fixture
def case(views, shown_case):
    """The phantom through its riskiest voxel, without outlines or legend, the map opaque and not smoothed."""
    shown_case.set_opacity(1.0)
    shown_case.segmentation.GetDisplayNode().SetVisibility(False)
    legend(shown_case).SetVisibility(False)
    shown_case.maps[shown_case.shown].GetDisplayNode().InterpolateOff()
    for view in views:
        view.fit()
        view.jump_to(riskiest_place(shown_case))
    return shown_case


def legend(case):
    return slicer.modules.colors.logic().GetColorLegendDisplayNode(case.maps[case.shown])


def colored(image: np.ndarray) -> np.ndarray:
    """Where a picture is not grey."""
    return np.ptp(image.astype(int), axis=-1) > 12


def centre_of_lesion(files) -> np.ndarray:
    """Return the lesion's centre in mm (RAS), going by the file alone."""
    image = nib.load(files.label)
    return (image.affine @ [*np.argwhere(image.get_fdata() == 2).mean(axis=0), 1.0])[:3]


def risk_at_pixels(view, files) -> np.ndarray:
    """Return the map's value, nearest voxel, at every pixel of a view; NaN outside. Goes by the file alone."""
    image = nib.load(files.risk)
    values = image.get_fdata()
    rows, columns = np.mgrid[0 : view.window.GetSize()[1], 0 : view.window.GetSize()[0]]
    xy = np.stack([columns, rows[::-1], np.zeros_like(rows), np.ones_like(rows)], axis=-1).astype(float)
    ras = xy @ slicer.util.arrayFromVTKMatrix(view.node.GetXYToRAS()).T
    ijk = np.rint(ras @ np.linalg.inv(image.affine).T)[..., :3].astype(int)
    inside = ((ijk >= 0) & (ijk < values.shape)).all(axis=-1)
    i, j, k = np.where(inside[..., None], ijk, 0).transpose(2, 0, 1)
    return np.where(inside, values[i, j, k], np.nan)


@pytest.mark.parametrize("threshold", [0.1, 0.4])
def test_the_map_shows_above_the_threshold_and_not_below(case, views, phantom_case, threshold, tmp_path):
    case.set_threshold(threshold)
    for view in views:
        image, risk = view.image(), risk_at_pixels(view, phantom_case)
        assert colored(image)[risk > threshold].mean() > 0.98  # all but the rims of voxels
        assert colored(image)[risk < threshold].mean() < 0.005
        assert not colored(image)[np.isnan(risk)].any()
        view.save_png(tmp_path / f"{view.node.GetName()}.png")


def test_at_threshold_zero_what_was_not_looked_at_stays_clear(case, views, phantom_case):
    case.set_threshold(0.0)
    for view in views:
        assert colored(view.image())[risk_at_pixels(view, phantom_case) == 0].mean() < 0.01  # rims of voxels


def test_colours_are_those_of_the_scale(case, views, phantom_case):
    scale = (255 * heat_scale()).round()
    for view in views:
        image, risk = view.image(), risk_at_pixels(view, phantom_case)
        peak = np.unravel_index(np.nanargmax(risk), risk.shape)
        expected = scale[round(255 * risk[peak] / case.maximum("predictive_entropy"))]
        np.testing.assert_allclose(image[peak], expected, atol=2)


def test_opacity_blends_scan_and_map(case, views, phantom_case):
    view = views[0]
    pixels = risk_at_pixels(view, phantom_case) > 0.6
    pictures = {}
    for opacity in (0.0, 0.5, 1.0):
        case.set_opacity(opacity)
        pictures[opacity] = view.image()[pixels].astype(float)
    assert np.abs(pictures[0.0] - pictures[1.0]).mean() > 20
    np.testing.assert_allclose(pictures[0.5], (pictures[0.0] + pictures[1.0]) / 2, atol=2)


def test_the_legend_comes_and_goes_with_its_map(case, views):
    for view in views:
        without = view.image()
        legend(case).SetVisibility(True)
        with_legend = view.image()
        differs = (without != with_legend).any(axis=-1)
        rows, columns = np.nonzero(differs)
        assert differs[LEGEND].sum() > 800
        assert rows.min() > 2
        assert columns.max() < 498, "the legend is cut off at the right edge"
        legend(case).SetVisibility(False)
    case.show_map(None)
    assert not colored(views[0].image()).any()


def test_outlines_have_the_structures_colours(case, views, phantom_case):
    case.show_map(None)
    views[2].jump_to(centre_of_lesion(phantom_case))
    case.segmentation.GetDisplayNode().SetVisibility(True)
    image = views[2].image().astype(int)
    for color in case.structure_colors().values():
        distance = np.abs(image - 255 * np.array(color)).sum(axis=-1)
        assert (distance < 30).sum() > 40


def test_an_oblique_scan_lands_at_the_right_place(host, case, views, phantom_case):
    case.show_map(None)
    centre = centre_of_lesion(phantom_case)
    for view in views:
        view.jump_to(centre)
        picture = view.image().astype(int)
        row, column = view.pixel_of(centre)
        lesion = picture[row - 3 : row + 4, column - 3 : column + 4].mean()
        organ = picture[colored(picture) == 0]
        assert 90 < lesion < np.quantile(organ, 0.99)


@pytest.mark.parametrize("name", ["hippocampus_case", "abdomen_case"])
def test_a_real_scan_through_its_riskiest_voxel(request, host, views, show, name, tmp_path):
    case = show(host, request.getfixturevalue(name))
    ras = riskiest_place(case)
    for view in views:
        view.fit()
        view.jump_to(ras)
        row, column = view.pixel_of(ras)
        assert colored(view.image())[row - 1 : row + 2, column - 1 : column + 2].any()
        assert view.save_png(tmp_path / f"{view.node.GetName()}.png").stat().st_size > 10_000


def test_surfaces_show_in_the_3d_view(host, shown_case, tmp_path):
    view = host.three_d_view()
    empty = view.image().astype(int)
    shown_case.segmentation.CreateClosedSurfaceRepresentation()
    view.fit()
    changed = np.abs(view.image().astype(int) - empty).sum(axis=-1) > 60
    assert changed.mean() > 0.02
    view.save_png(tmp_path / "3d.png")
