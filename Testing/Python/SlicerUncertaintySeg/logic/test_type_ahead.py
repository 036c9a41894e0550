"""A few letters, or a number, find a structure."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")

from UncertaintySegLib.logic.type_ahead import find
from UncertaintySegLib.scene.segments import Structure

_NAMES = ["spleen", "kidney_right", "kidney_left", "liver", "lung_upper_lobe_left", "vertebrae_L5", "aorta"]
_IDS = [1, 2, 3, 5, 10, 27, 52]
_STRUCTURES = [Structure(name, id_, name, (0, 0, 0)) for id_, name in zip(_IDS, _NAMES, strict=True)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", _NAMES),
        ("li", ["liver"]),
        ("L", ["liver", "lung_upper_lobe_left", "kidney_left", "vertebrae_L5", "spleen"]),
        ("left k", ["kidney_left"]),
        ("kidney_l", ["kidney_left"]),
        ("5", ["liver", "aorta", "vertebrae_L5"]),
        ("52", ["aorta"]),
        ("brain", []),
    ],
)
def test_the_likeliest_comes_first(typed, found):
    assert [structure.name for structure in find(_STRUCTURES, typed)] == found
