"""Walking through volumes that are too large to copy, and cutting them to what matters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import find_objects

from uncertaintyseg.errors import InputError

BLOCK = 1 << 22
"""Voxels at a time: float64 copies of a block take 32 MB."""


def blocks(size: int, length: int = BLOCK) -> Iterator[slice]:
    """Slices of at most `length` that cover `size` flat elements."""
    return (slice(start, start + length) for start in range(0, size, length))


def bounding_box(mask: np.ndarray, spacing: Sequence[float], margin_mm: float = 0.0) -> tuple[slice, ...] | None:
    """Box of a mask `[*S]`, `margin_mm` wider on each side as far as the volume goes; None for an empty mask."""
    found = find_objects(mask.astype(np.uint8))
    if not found:
        return None
    reach = [math.ceil(margin_mm / step) for step in spacing]
    return tuple(slice(max(0, cut.start - r), cut.stop + r) for cut, r in zip(found[0], reach, strict=True))


def check_shapes(what: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    """Refuse an array that does not lie on the grid of another.

    Raises:
        InputError: when the shapes differ.
    """
    if tuple(found) != tuple(wanted):
        raise InputError(f"{what} has shape {tuple(found)}, not {tuple(wanted)}: bring both onto one grid.")


def check_finite(what: str, values: np.ndarray) -> None:
    """Refuse a map that says nothing in places.

    Raises:
        InputError: when a value is NaN or infinite.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise InputError(f"{what} is NaN or infinite in {bad} voxels: mend the model or method that made it.")
