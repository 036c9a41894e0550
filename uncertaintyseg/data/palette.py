"""What structures look like: those that are known have a colour, others get one that stands out."""

from __future__ import annotations

import colorsys

from uncertaintyseg.data.anatomy import known

_GOLDEN = 0.618034
"""Steps of this share round the circle of hues stay apart from each other, however many there are."""


def rgb_of(number: int, name: str) -> tuple[int, int, int]:
    """Display colour, 0 to 255, of the structure of an id and a name."""
    structure = known(name)
    if structure:
        return structure.rgb
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55 + 0.15 * (number % 3), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
