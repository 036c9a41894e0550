"""The small picture of the curve, looked at by the pixel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.panel.curve_picture import draw
from UncertaintySegLib.scene.curve_plot import BLUE, GREEN, GREY, ORANGE, Chart, ends

CHART = Chart(
    title="",
    x_title="Coverage: voxels not reviewed (%)",
    y_title="Expected error (% of the true volume)",
    x=np.array([96.0, 98.0, 100.0]),
    y=np.array([0.4, 1.2, 8.0]),
    point=(99.0, 4.6),
    band=(np.array([0.2, 0.8, 6.0]), np.array([0.7, 1.9, 11.0])),
    promised=(98.0, 1.2),
)
LIGHT, DARK = (240, 240, 240), (40, 44, 52)


def picture(chart: Chart, ink, paper, ratio: float = 1.0) -> np.ndarray:
    import qt
    from PySide6.QtGui import QImage

    drawn = draw(chart, 360, 170, ink=qt.QColor(*ink), paper=qt.QColor(*paper), ratio=ratio)
    image = drawn.toImage().convertToFormat(QImage.Format_RGB888)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def pixels_of(image: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    return np.argwhere(np.abs(image - np.round(255 * np.array(color))).sum(axis=-1) < 25)


@pytest.mark.parametrize(("ink", "paper"), [(DARK, LIGHT), (LIGHT, DARK)])
def test_curve_interval_and_marks_show_on_light_and_dark(ink, paper):
    image = picture(CHART, ink, paper)
    for color, least in ((BLUE, 100), (GREY, 40), (ORANGE, 30), (GREEN, 30)):
        assert len(pixels_of(image, color)) > least
    assert len(pixels_of(image, tuple(part / 255 for part in ink))) > 150, "no legible text"


def test_the_working_point_moves_right_with_the_coverage_and_up_with_the_error():
    before = pixels_of(picture(CHART, DARK, LIGHT), ORANGE).mean(axis=0)
    moved = dataclasses.replace(CHART, point=(99.5, 6.3))
    after = pixels_of(picture(moved, DARK, LIGHT), ORANGE).mean(axis=0)
    assert after[0] < before[0] - 10
    assert after[1] > before[1] + 20


def test_it_is_sharp_on_a_dense_screen():
    assert picture(CHART, DARK, LIGHT, ratio=2.0).shape == (340, 720, 3)


def test_no_axis_goes_beyond_all_of_the_voxels_or_all_of_the_volume():
    assert ends(96.0) == (96.0, 100.0)
    assert ends(0.0, 135.0) == (0.0, 100.0)
    assert ends(0.0, 11.5) == (0.0, 11.5)
    low, high = ends(100.0)
    assert low < high == 100.0


@pytest.mark.parametrize("y", [[0.0, 0.0, 0.0], [3e-5, 3e-5, 3e-5]])
def test_a_flat_curve_and_a_single_point_are_drawn(y):
    flat = Chart("", "x", "y", np.array([100.0, 100.0, 100.0]), np.array(y), (100.0, y[0]))
    one = Chart("", "x", "y", np.array([100.0]), np.array(y[:1]), (100.0, y[0]))
    for chart in (flat, one):
        assert len(pixels_of(picture(chart, DARK, LIGHT), ORANGE)) > 30
