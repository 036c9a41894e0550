"""Labels of imported models: known structures have their codes and colours, others a colour that stands out."""

from __future__ import annotations

from collections.abc import Sequence

from uncertaintyseg.data.anatomy import known
from uncertaintyseg.data.palette import rgb_of
from uncertaintyseg.wire import Label


def as_labels(names: Sequence[str]) -> list[Label]:
    """Labels 1, 2, 3, ... of these names."""
    return [_label(number, name) for number, name in enumerate(names, start=1)]


def _label(number: int, name: str) -> Label:
    structure = known(name)
    codes = (structure.snomed, structure.modifier) if structure else (None, None)
    return Label(id=number, name=name, rgb=rgb_of(number, name), snomed=codes[0], modifier=codes[1])
