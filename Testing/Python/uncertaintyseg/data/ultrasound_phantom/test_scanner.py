"""Physics of the picture: speckle statistics, resolution, shadow, and where pixels lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from uncertaintyseg.data.ultrasound_phantom.scanner import Beams, Probe, envelope, pixel_positions, to_pixels, white

PROBE = Probe(radius=50.0, half_angle=0.6, top=2.0, depth=100.0, focus=50.0, megahertz=4.0)


def lag(field, axis):
    """Steps to where the correlation of a complex field falls to a half."""
    for step in range(1, 60):
        one, other = np.moveaxis(field, axis, 0)[:-step], np.moveaxis(field, axis, 0)[step:]
        if abs((one * other.conj()).mean()) < 0.5 * (abs(field) ** 2).mean():
            return step
    raise AssertionError


@pytest.mark.parametrize("megahertz", [2.5, 4.0, 5.0])
def test_speckle_is_fully_developed(megahertz):
    """Rayleigh envelope: mean over standard deviation is 1.91 = sqrt(pi / (4 - pi)); unit power stays."""
    beams = Beams(replace(PROBE, megahertz=megahertz))
    draws = [envelope(white(np.random.default_rng(seed), beams.x.shape), 0.0, beams) for seed in range(8)]
    heard = np.stack(draws)[:, 20:-20, 10:-10]
    assert heard.mean() / heard.std() == pytest.approx(1.913, abs=0.04)
    assert (heard**2).mean() == pytest.approx(1.0, abs=0.05)
    assert (heard > np.sqrt(np.log(2))).mean() == pytest.approx(0.5, abs=0.02)  # its median


def test_speckle_is_finer_across_the_beam_at_the_focus_and_at_a_higher_frequency():
    beams = Beams(PROBE)
    wide_mm = beams.lateral * beams.r * (2 * PROBE.half_angle / (beams.x.shape[1] - 1))
    assert abs(float(beams.depth[wide_mm.argmin(), 0]) - PROBE.focus) < 1
    assert wide_mm[-1] > 1.5 * wide_mm.min()
    high = Beams(replace(PROBE, megahertz=6.0))
    assert high.axial < beams.axial
    assert (high.lateral < beams.lateral).all()
    assert wide_mm.min() > beams.axial * PROBE.step  # a point is wider than long


def test_a_point_is_blurred_by_the_point_spread_function():
    beams = Beams(replace(PROBE, megahertz=2.2))  # wide enough for the grid
    mirrors = np.zeros(beams.x.shape, np.float32)
    row, column = int(PROBE.focus / PROBE.step), beams.x.shape[1] // 2
    mirrors[row, column] = 1
    heard = envelope(np.zeros(mirrors.shape, np.complex64), mirrors, beams)
    across, along = heard[row] / heard.max(), heard[:, column] / heard.max()
    n = np.arange(-8, 9)
    sigma = float(beams.lateral[row, 0])
    np.testing.assert_allclose(across[column + n], np.exp(-0.5 * (n / sigma) ** 2), atol=0.02)
    n = np.arange(-2, 3)
    np.testing.assert_allclose(along[row + n], np.exp(-0.5 * (n / beams.axial) ** 2), atol=0.02)
    assert heard.sum() == pytest.approx(1, rel=0.02)


def test_noise_is_circular_and_of_unit_power():
    noise = white(np.random.default_rng(0), (400, 400))
    assert noise.dtype == np.complex64
    assert (abs(noise) ** 2).mean() == pytest.approx(1, abs=0.02)
    assert abs((noise**2).mean()) < 0.02


def test_pixels_show_what_lies_there_and_nothing_beside_the_fan():
    beams = Beams(PROBE)
    size, spacing = 200, 0.5
    shown = to_pixels(np.clip(2 * beams.y, 0, 255).astype(np.float32), beams.pixels(size, spacing))
    x, y = pixel_positions(size, spacing)
    r = np.hypot(x, y - PROBE.top + PROBE.radius)
    theta = np.abs(np.arctan2(x, y - PROBE.top + PROBE.radius))
    inside = (r > PROBE.radius + 1) & (r < PROBE.radius + PROBE.depth - 1) & (theta < PROBE.half_angle - 0.02)
    np.testing.assert_allclose(shown[inside], (2 * y + 0 * x)[inside], atol=1.01)
    outside = (r < PROBE.radius - 1) | (r > PROBE.radius + PROBE.depth + 1) | (theta > PROBE.half_angle + 0.02)
    assert not shown[outside].any()
