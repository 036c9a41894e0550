from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from UncertaintySegLib.scene.overlay import display_maximum, title

# Machado, Oliveira and Fernandes 2009, severity 1: what reaches the eye, in linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
APART = 15.0  # CIEDE2000


@pytest.fixture
def colors(session_host):
    from UncertaintySegLib.scene import colors

    return colors


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


@pytest.mark.parametrize("scale", ["heat", "sea", "grey"])
def test_equal_steps_of_risk_are_equal_steps_of_lightness(colors, scale):
    steps = np.diff(lightness(colors.heat_scale(64, scale)))
    assert steps.min() > 0.5 * steps.mean()
    assert steps.max() < 1.6 * steps.mean()


@pytest.mark.parametrize("name", ["heat", "sea", "grey"])
def test_the_scale_stays_within_what_a_screen_can_show(colors, name):
    scale = colors.heat_scale(scale=name)
    assert scale.min() >= 0
    assert scale.max() <= 1
    assert (np.abs(np.diff(scale, axis=0)) < 0.03).all()


def test_a_scene_has_one_table_for_each_scale(colors, host):
    tables = {scale: colors.heat_table(host.scene, scale) for scale in colors.SCALES}
    assert len({table.GetID() for table in tables.values()}) == 3
    assert colors.heat_table(host.scene).GetID() == tables["heat"].GetID()
    assert tables["grey"].GetNumberOfColors() == 256


def seen(colors, vision: str) -> np.ndarray:
    """CIELAB of sRGB colours `[..., 3]` as somebody with that colour vision sees them."""
    rgb = np.asarray(colors, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shown = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    return rgb2lab(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055))


def apart(one, others, vision: str) -> np.ndarray:
    return deltaE_ciede2000(seen([one], vision), seen(others, vision))


@pytest.mark.parametrize("vision", VISIONS)
def test_outline_fill_and_box_are_seen_apart_from_the_map_at_any_level_and_from_each_other(colors, vision):
    structures = [colors.structure_color(index) for index in range(6)]
    for color in (*structures, colors.TO_REVIEW, colors.REGION_BOX):
        assert apart(color, colors.heat_scale(64), vision).min() >= APART
    for color in structures:
        assert apart(color, [colors.TO_REVIEW, colors.REGION_BOX], vision).min() >= APART
    assert apart(colors.TO_REVIEW, [colors.REGION_BOX], vision)[0] >= APART


@pytest.mark.parametrize("vision", VISIONS)
def test_a_structure_is_seen_apart_from_the_two_that_follow_it(colors, vision):
    """Neighbours in a body are mostly neighbours in a model's list; a body of 117 has more than eyes can tell apart."""
    for index in range(12):
        following = [colors.structure_color(index + step) for step in (1, 2)]
        assert apart(colors.structure_color(index), following, vision).min() >= APART


def test_they_differ_in_lightness_too(colors):
    structures = lightness(np.array([colors.structure_color(index) for index in range(6)]))
    fill, box = lightness(np.array([colors.TO_REVIEW, colors.REGION_BOX]))
    assert fill + 15 < structures.min() < structures.max() < box - 12
    assert np.abs(np.diff([*structures, structures[0]])).min() > 0.5


@pytest.mark.parametrize(
    ("top", "highest", "expected"),
    [(0.69, 1.0986, 1.0), (0.69, 0.6931, 0.6931), (0.013, 1.0986, 0.02), (0.2, 1.0, 0.2), (0.0041, 0.25, 0.005)],
)
def test_the_scale_ends_at_a_round_number_or_the_measures_own_end(top, highest, expected):
    assert display_maximum(np.full(100, top), highest) == pytest.approx(expected)


def test_one_stray_voxel_does_not_set_the_scale():
    values = np.full(10_000, 0.18)
    values[0] = 0.9
    assert display_maximum(values, 1.0) == pytest.approx(0.2)


def test_an_empty_map_has_the_measures_own_scale():
    assert display_maximum(np.zeros((4, 4)), 0.25) == 0.25


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("predictive_entropy", "nats", "Predictive entropy (nats)"),
        ("variance", "1", "Variance"),
        ("variance_left_kidney", "1", "Variance of left kidney"),
        ("probability_lesion", "1", "Probability of lesion"),
        ("something_new", "1", "Something new"),
    ],
)
def test_maps_are_called_as_people_say_them(name, unit, expected):
    assert title(name, unit) == expected
