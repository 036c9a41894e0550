"""Labels of imported models: known structures have their codes and colours, others a colour that stands out."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from uncertaintyseg.data.anatomy import known
from uncertaintyseg.wire import Label

_GOLDEN = 0.618034
"""Steps of this share round the circle of hues stay apart from each other, however many there are."""


def as_labels(names: Sequence[str]) -> list[Label]:
    """Labels 1, 2, 3, ... of these names."""
    return [_label(number, name) for number, name in enumerate(names, start=1)]


def _label(number: int, name: str) -> Label:
    structure = known(name)
    if structure:
        return Label(id=number, name=name, rgb=structure.rgb, snomed=structure.snomed, modifier=structure.modifier)
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55 + 0.15 * (number % 3), 0.95)
    return Label(id=number, name=name, rgb=(round(255 * red), round(255 * green), round(255 * blue)))
