"""Circumferences of structures in images: of drawn ellipses, by level sets, against references, and in their units."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from uncertaintyseg.data.ellipse import circumference
from uncertaintyseg.data.time_axis import Measure
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.ellipses import (
    border_ellipse,
    circumferences,
    compared_ellipse,
    mean_circumferences,
    measured_ellipse,
    outer_border,
    whole_probability,
    with_forms,
)
from uncertaintyseg.wire import FittedEllipse, Structure

AFFINE = np.diag([-0.5, -0.8, 1.0, 1.0])


def distance(a: float, b: float, shape=(160, 120), spacing=(0.5, 0.8)) -> np.ndarray:
    """How far out each pixel `[X, Y, 1]` lies of an ellipse about the middle: 1 on it, less inside."""
    x, y = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    return np.hypot(x / a, y / b)[..., None]


def row(name: str, i: int, ellipse: FittedEllipse | None = None) -> Structure:
    return Structure(
        name=name, id=i, volume_ml=1, volume_ml_95=None, interval_method="none", mean_risk=None, expected_dice=None,
        flag=None, ellipse=ellipse,
    )  # fmt: skip


def test_a_drawn_ellipse_has_its_axes_whatever_lies_within_or_beside_it():
    size = distance(30, 22)
    mask = (size < 1) & ~(distance(8, 5) < 1)
    mask[:4, :4] = True
    found = measured_ellipse(mask, None, AFFINE, "mm")
    assert (found.long_axis, found.short_axis) == pytest.approx((60, 44), rel=0.01)
    assert found.circumference == pytest.approx(circumference(30, 22), rel=0.01)
    assert abs(found.angle_degrees) < 2
    assert (found.circumference_95, found.unit) == (None, "mm")


def test_the_interval_is_that_of_a_border_that_is_normally_distributed():
    """p falls along the size of the ellipse as the chance that a border at 1 with sd 0.08 lies further out."""
    size = distance(30, 22)
    p = norm.sf(size, 1, 0.08)
    found = measured_ellipse(size < 1, p, AFFINE, "mm")
    wanted = [circumference(30, 22) * (1 + sign * 1.96 * 0.08) for sign in (-1, 1)]
    assert found.circumference_95 == pytest.approx(wanted, rel=0.01)


def test_what_a_structure_encloses_is_no_border_of_it_however_unsure():
    size, inner = distance(30, 22), distance(12, 9)
    label = np.where(inner < 1, 2, size < 1).astype(np.uint8)
    p = {1: 0.9 * (size < 1), 2: np.zeros_like(size)}
    p[2][inner < 1.5] = 0.6
    p[1][inner < 1.5] = 0.4
    np.testing.assert_allclose(whole_probability(label, 1, p), p[1] + p[2])
    np.testing.assert_allclose(whole_probability(label, 2, p), p[2])


def test_there_is_no_interval_where_nothing_is_that_sure():
    size = distance(30, 22)
    assert measured_ellipse(size < 1, 0.8 * (size < 1), AFFINE, "mm").circumference_95 is None


def test_a_structure_at_the_edge_of_the_picture_ends_there():
    mask = np.zeros((20, 20))
    mask[:10, :] = 1
    points = outer_border(mask)
    assert (points.min(0), points.max(0)) == (pytest.approx((-0.5, -0.5)), pytest.approx((9.5, 19.5)))


@pytest.mark.parametrize("pixels", [0, 1])
def test_a_border_of_too_few_points_is_refused(pixels):
    mask = np.zeros((9, 9))
    mask[4, 4] = pixels
    with pytest.raises(InputError, match=f"needs 5 points of a border, and there are {4 * pixels}"):
        border_ellipse(mask, (1, 1))


def test_a_reference_has_its_circumference_and_whether_the_interval_held_it():
    size = distance(30, 22)
    p = np.clip((1.2 - size) / 0.4, 0, 1)
    around = circumference(30, 22)
    for scale, holds in ((0.9, True), (1.3, False)):
        found = compared_ellipse(size < 1, size < scale, p, AFFINE, "mm")
        assert found.reference == pytest.approx(scale * around, rel=0.01)
        assert found.error == pytest.approx((1 - scale) * around, abs=0.01 * around)
        assert (found.holds, found.reason) == (holds, None)
    empty = compared_ellipse(size < 1, size < 0, p, AFFINE, "mm")
    assert "of the reference: an ellipse needs 5 points" in empty.reason
    absent = compared_ellipse(size < 0, size < 1, p, AFFINE, "mm").as_json()
    assert (absent["circumference"], absent["error"], absent["in_95"]) == (None, None, None)
    assert absent["reason"].endswith("there are 0.")


@pytest.mark.parametrize(("unit", "lengths", "shapes"), [("mm2", "mm", True), ("px", "px", False)])
def test_rows_of_images_have_ellipses_and_without_a_spacing_in_pixels(unit, lengths, shapes):
    label = (distance(30, 22) < 1).astype(np.uint8)
    first, second = with_forms([row("head", 1), row("cavum", 2)], label, AFFINE, Measure(unit, 0.4, 0.4))
    assert first.ellipse.unit == lengths
    assert (first.shape is not None) is shapes
    assert second.ellipse is None


def test_volumes_and_clips_have_no_ellipse():
    label = np.repeat((distance(30, 22) < 1).astype(np.uint8), 3, axis=2)
    (volume,) = with_forms([row("head", 1)], label, AFFINE, Measure.of_volume(AFFINE))
    (clip,) = with_forms([row("head", 1)], label, AFFINE, Measure("mm2", 0.4, 0.4, clip=True))
    assert (volume.ellipse, clip.ellipse, clip.shape) == (None, None, None)
    assert volume.shape is not None


def test_errors_are_averaged_over_cases_of_one_unit():
    def case(around, low, high, unit="mm"):
        ellipse = FittedEllipse(
            circumference=around, circumference_95=(low, high), long_axis=1, short_axis=1, angle_degrees=0, unit=unit
        )
        return circumferences([row("head", 1, ellipse), row("cavum", 2)], label, AFFINE)

    label = (distance(30, 22) < 1).astype(np.uint8)
    true = measured_ellipse(label == 1, None, AFFINE, "mm").circumference
    cases = [case(true + 3, 0, 500), case(true - 1, 0, 1), case(9, 0, 500, "px"), {}]
    found = mean_circumferences(cases)
    assert found["head"]["n"] == 2
    assert found["head"]["error"]["mean"] == pytest.approx(1)
    assert found["head"]["absolute_error"]["mean"] == pytest.approx(2)
    assert (found["head"]["unit"], found["head"]["coverage_95"]) == ("mm", 0.5)
    assert (found["cavum"]["n"], found["cavum"]["coverage_95"]) == (0, None)
    assert circumferences([row("head", 1)], label, AFFINE) == {}
