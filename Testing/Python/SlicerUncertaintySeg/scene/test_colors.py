from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from UncertaintySegLib.scene.overlay import display_maximum, title

BUNDLES = sorted((Path(__file__).resolve().parents[4] / "models").glob("*/configs/metadata.json"))


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


@pytest.mark.parametrize("metadata", BUNDLES, ids=lambda path: path.parents[1].name)
def test_no_structure_of_our_models_drowns_in_the_heat_colours(colors, metadata):
    labels = json.loads(metadata.read_text(encoding="utf-8"))["uncertainty"]["labels"]
    own = np.array([label["rgb"] for label in labels]) / 255
    apart = np.linalg.norm(own[:, None] - colors.heat_scale()[None], axis=-1)
    assert apart.min() > 0.5


def test_a_scene_has_one_table_for_each_scale(colors, host):
    tables = {scale: colors.heat_table(host.scene, scale) for scale in colors.SCALES}
    assert len({table.GetID() for table in tables.values()}) == 3
    assert colors.heat_table(host.scene).GetID() == tables["heat"].GetID()
    assert tables["grey"].GetNumberOfColors() == 256


def test_structures_keep_clear_of_the_heat_scale_and_of_each_other(colors):
    chosen = np.array([colors.structure_color(index) for index in range(6)])
    assert (chosen[:, 0] < 0.75 * chosen.max(axis=1)).all()
    pairs = [np.abs(a - b).max() for n, a in enumerate(chosen) for b in chosen[:n]]
    assert min(pairs) > 0.04


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
