"""Shapes of the head: distances, the border of a bent skull, the planes beside the middle one."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.ultrasound_phantom.growth import draw_sizes
from uncertaintyseg.data.ultrasound_phantom.head import Bend, Head, Pose, oval


@pytest.fixture
def head():
    return Head(draw_sizes(np.random.default_rng(0)), (0.27, 0.4))


def grid(reach=60.0, step=0.25):
    axis = np.arange(-reach, reach, step, dtype=np.float32)
    return axis[:, None], axis[None]


def test_the_distance_to_an_ellipse_is_right_to_first_order():
    turn = np.linspace(0, 2 * np.pi, 50)
    x, y = 40 * np.cos(turn), 30 * np.sin(turn)
    normal = np.stack([x / 40**2, y / 30**2])
    normal /= np.linalg.norm(normal, axis=0)
    for distance in (-1.0, 0.0, 1.0):
        found = oval(x + distance * normal[0], y + distance * normal[1], 40.0, 30.0)
        np.testing.assert_allclose(found, distance, atol=0.06)


def test_into_the_head_and_back_is_no_way():
    pose = Pose(3.0, 50.0, 0.4, -1)
    x, y = np.array([10.0, -5.0], np.float32), np.array([40.0, 70.0], np.float32)
    np.testing.assert_allclose(pose.into_picture(*pose.into_head(x, y)), (x, y), atol=1e-4)


def test_a_ventricle_is_as_wide_as_it_should_be(head):
    """Across its own axis, at its widest: twice the largest distance to its surface from within."""
    u, v = grid()
    for side in (0, 1):
        distance, _ = head.ventricle(u, v, side)
        assert -2 * distance.min() == pytest.approx(head.sizes.ventricles[side], rel=0.05)
        assert (distance[:, v[0] > 0] < 0).any() == (side == 1)  # on its own side of the midline
        assert (distance[:, v[0] < 0] < 0).any() == (side == 0)


def test_the_cavum_is_as_wide_and_long_as_it_should_be_and_in_front(head):
    u, v = grid()
    inside = head.cavum(u, v) < 0
    width, length = head.sizes.cavum
    assert inside.any(0).sum() * 0.25 == pytest.approx(width, abs=0.3)
    assert inside.any(1).sum() * 0.25 == pytest.approx(length, abs=0.3)
    assert (u[inside.any(1)] > 0).all()


def test_planes_beside_the_middle_are_smaller_and_lose_the_cavum(head):
    aside = head.at(8.0)
    assert aside.sizes.circumference < head.sizes.circumference
    assert aside.sizes.cavum == (0.0, 0.0)
    assert head.at(0.0).sizes == head.sizes
    u, v = grid()
    assert not (aside.cavum(u, v) < 0).any()


def test_a_bent_head_has_the_ellipse_of_its_bent_border(head):
    """A shift by 2 mm is a bend too: the ellipse moves against it, and nothing else changes."""
    bend = Bend(np.array([[2.0, 0.0]]), np.array([[0.0, 0.0]]), np.array([np.pi / 2]))
    plain, moved = head.ellipse(Pose(0, 50, 0, 1)), Head(head.sizes, head.spread, bend).ellipse(Pose(0, 50, 0, 1))
    assert (moved.x, moved.y) == pytest.approx((plain.x - 2, plain.y), abs=1e-6)
    assert moved.circumference == pytest.approx(plain.circumference)
