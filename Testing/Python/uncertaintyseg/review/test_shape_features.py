"""Shape features against bodies whose size and form are known, and against moments by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from uncertaintyseg.errors import InputError
from uncertaintyseg.review.shape_features import ShapeRow, shape_features, with_shapes
from uncertaintyseg.wire import Label, Structure

LABELS = [Label(id=i, name=name, rgb=(i, i, i), snomed=None) for i, name in ((1, "organ"), (2, "lesion"))]
SPACING = np.array([1.0, 0.8, 1.5])


def oblique(spacing=SPACING) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() * spacing
    affine[:3, 3] = [12.0, -30.0, 7.5]
    return affine


def ellipsoid(radii, shape=(41, 51, 29), spacing=SPACING) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), -1) * spacing
    return (((grid / radii) ** 2).sum(-1) <= 1).astype(np.uint8)


def features(label: np.ndarray, affine: np.ndarray) -> ShapeRow:
    return shape_features(label, affine, LABELS)[0]


def test_an_ellipsoid_has_its_volume_surface_and_form():
    a, b, c = 18.0, 12.0, 9.0
    row = features(ellipsoid((a, b, c)), oblique())
    assert row.volume_ml == pytest.approx(4 / 3 * np.pi * a * b * c / 1000, rel=0.02)
    surface = 4 * np.pi * (((a * b) ** 1.6075 + (a * c) ** 1.6075 + (b * c) ** 1.6075) / 3) ** (1 / 1.6075)
    assert row.surface_mm2 == pytest.approx(surface, rel=0.05)
    assert row.eccentricity == pytest.approx(np.sqrt(1 - (c / a) ** 2), abs=0.01)
    assert row.elongation == pytest.approx(a / b, rel=0.01)
    assert row.components == 1
    assert (row.area_mm2, row.flag) == (None, None)


def test_place_and_moments_are_those_of_the_voxels_in_space():
    label = (np.random.default_rng(0).random((9, 8, 7)) < 0.2).astype(np.uint8)
    affine = oblique()
    voxels = np.argwhere(label)
    space = voxels @ affine[:3, :3].T + affine[:3, 3]
    row = features(label, affine)
    np.testing.assert_allclose(row.centroid_mm, space.mean(0))
    moments = np.linalg.eigvalsh(np.cov(space.T, bias=True))
    assert row.eccentricity == pytest.approx(np.sqrt(1 - moments[0] / moments[2]))
    assert row.elongation == pytest.approx(np.sqrt(moments[2] / moments[1]))
    assert row.box_ijk == (tuple(voxels.min(0)), tuple(voxels.max(0)))


def test_the_box_in_space_holds_whole_voxels():
    label = np.zeros((10, 10, 10), np.uint8)
    label[2:5, 3, 4:8] = 1
    affine = np.diag([-2.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = [100, 0, 10]
    row = features(label, affine)
    assert row.box_ijk == ((2, 3, 4), (4, 3, 7))
    assert row.box_mm == ((91.0, 2.5, 20.5), (97.0, 3.5, 32.5))


def test_an_absent_structure_has_a_row_of_zeros_that_says_so():
    found, absent = shape_features(ellipsoid((5, 5, 5)), oblique(), LABELS)
    assert found.flag is None
    assert absent == ShapeRow("lesion", 2)
    assert (absent.volume_ml, absent.components, absent.flag) == (0, 0, "absent")
    assert absent.centroid_mm is None


def test_pieces_are_counted_by_faces():
    label = np.zeros((6, 6, 6), np.uint8)
    label[0, 0, 0], label[1, 1, 1], label[4:, 4:, 4:] = 1, 1, 1
    assert features(label, np.eye(4)).components == 3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_has_an_area_and_the_eccentricity_of_its_ellipse(axis):
    grid = np.stack(np.meshgrid(np.arange(-30, 31), np.arange(-30, 31), indexing="ij"), -1) * [1.0, 0.5]
    disc = ((grid / [20, 12]) ** 2).sum(-1) <= 1
    spacing = np.insert([1.0, 0.5], axis, 4.0)
    row = features(np.expand_dims(disc, axis).astype(np.uint8), oblique(spacing))
    assert row.area_mm2 == pytest.approx(np.pi * 20 * 12, rel=0.01)
    assert row.volume_ml == pytest.approx(4 * row.area_mm2 / 1000)
    assert row.eccentricity == pytest.approx(np.sqrt(1 - (12 / 20) ** 2), abs=0.01)
    assert row.surface_mm2 is None
    assert row.box_ijk[0][axis] == row.box_ijk[1][axis] == 0


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 3, 1), (1, 1, 3), (1, 1, 1)])
def test_one_voxel_has_no_form(shape):
    label = np.zeros(shape, np.uint8)
    label[-1, -1, -1] = 1
    row = features(label, np.eye(4))
    assert (row.volume_ml, row.components) == (0.001, 1)
    assert (row.eccentricity, row.elongation) == (None, None)


def test_a_line_is_as_eccentric_as_can_be_and_has_no_second_axis():
    label = np.zeros((3, 9, 3), np.uint8)
    label[1, :, 1] = 1
    row = features(label, np.eye(4))
    assert row.eccentricity == pytest.approx(1)
    assert row.elongation is None


def test_what_is_no_volume_is_refused():
    with pytest.raises(InputError, match=r"has 2 axes\. A slice is \[X, Y, 1\]"):
        shape_features(np.zeros((4, 4), int), np.eye(4), LABELS)


def test_rows_of_a_structure_table_get_the_shapes_of_what_is_there():
    about = {"volume_ml": 0, "volume_ml_95": None, "interval_method": "", "mean_risk": None, "expected_dice": None}
    rows = [Structure(name=item.name, id=item.id, flag=None, **about) for item in LABELS]
    label, affine = ellipsoid((18, 12, 9)), oblique()
    organ, lesion = with_shapes(rows, label, affine)
    assert lesion == rows[1]
    assert lesion.shape is None
    found = features(label, affine)
    assert organ.shape.model_dump() == {name: getattr(found, name) for name in type(organ.shape).model_fields}
    assert organ.model_copy(update={"shape": None}) == rows[0]


@pytest.mark.parametrize("at", [(0, 0, 0), (7, 11, 3), (12, 15, 9)], ids=["a corner", "inside", "the other corner"])
def test_what_lies_around_a_structure_changes_nothing_of_its_shape(at):
    body = ellipsoid((5, 4, 6), shape=(12, 13, 11))
    label = np.zeros((24, 28, 20), np.uint8)
    label[tuple(slice(first, first + size) for first, size in zip(at, body.shape, strict=True))] = body
    around = np.where(label == 0, 2, label)
    image = sitk.GetImageFromArray(label.T)
    image.SetSpacing(SPACING.tolist())
    whole = sitk.LabelShapeStatisticsImageFilter()
    whole.ComputePerimeterOn()
    whole.Execute(image)
    for each in (label, around):
        row = features(each, np.diag([*SPACING, 1.0]))
        assert row.surface_mm2 == pytest.approx(whole.GetPerimeter(1))
        np.testing.assert_allclose(row.centroid_mm, whole.GetCentroid(1))
        assert row.elongation == pytest.approx(whole.GetElongation(1))
