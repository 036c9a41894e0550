"""What sizes are counted in, in words: volumes in mL, areas of images and clips in mm² or pixels.

The wire's `size_unit` says which; fields and names that end in `_ml` are in that unit too. Of a clip a size is the mean
area of a frame, and that of a region the area in its frame.
"""

from __future__ import annotations

from slicer.i18n import tr as _

from UncertaintySegLib.server.sizes import MM2, PIXELS


def shown(unit: str) -> str:
    """Return a unit as people read it."""
    return "mm²" if unit == MM2 else unit


def is_area(unit: str) -> bool:
    """Return whether sizes in a unit are areas."""
    return unit in (MM2, PIXELS)


def kind(unit: str) -> str:
    """Return what a size in a unit is, in a sentence."""
    return _("area") if is_area(unit) else _("volume")
