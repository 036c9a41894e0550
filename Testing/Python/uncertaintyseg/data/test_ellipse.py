"""Ellipses: found again from their points, as long as the elliptic integral says, and refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ellipe

from uncertaintyseg.data.ellipse import circumference, fit_ellipse
from uncertaintyseg.errors import InputError


def points(a, b, angle, centre=(4.0, 60.0), count=100):
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    u, v = a * np.cos(turn), b * np.sin(turn)
    return centre[0] + np.cos(angle) * u - np.sin(angle) * v, centre[1] + np.sin(angle) * u + np.cos(angle) * v


@pytest.mark.parametrize("count", [5, 6, 100])
@pytest.mark.parametrize("angle", [0.3, -1.2])
def test_an_ellipse_is_found_again(count, angle):
    found = fit_ellipse(*points(45, 35, angle, count=count))
    assert (found.x, found.y) == pytest.approx((4, 60))
    assert (found.long, found.short, found.angle) == pytest.approx((45, 35, angle))
    assert found.circumference == pytest.approx(circumference(45, 35))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (52.0, 40.0), (30.0, 21.0)])
def test_ramanujan_is_the_elliptic_integral(a, b):
    assert circumference(a, b) == pytest.approx(4 * a * ellipe(1 - (b / a) ** 2), rel=1e-7)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_points_are_refused_with_their_number(count):
    with pytest.raises(InputError, match=f"needs 5 points of a border, and there are {count}"):
        fit_ellipse(*points(45, 35, 0.3, count=count))
    x, y = points(45, 35, 0.3, count=4)
    with pytest.raises(InputError, match="there are 4"):
        fit_ellipse(np.tile(x, 3), np.tile(y, 3))


def test_points_on_a_line_have_no_ellipse():
    with pytest.raises(InputError, match="nearly on a line"):
        fit_ellipse(np.arange(9.0), 2 * np.arange(9.0) + 1)
