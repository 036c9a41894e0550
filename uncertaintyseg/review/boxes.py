"""The parts of a volume that matter: most of a scan is neither labelled nor in doubt, and few copies of it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]
SLAB = 1 << 22
"""Voxels at a time: float64 copies of them take 32 MB."""


def box_of(mask: np.ndarray) -> Box:
    """The smallest box that holds a mask `[*S]`; an empty one for an empty mask."""
    box, part = [], mask
    for axis in range(mask.ndim):
        hit = np.flatnonzero(part.any(tuple(other for other in range(mask.ndim) if other != axis)))
        span = slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)
        box.append(span)
        part = part[(*(slice(None),) * axis, span)]
    return tuple(box)


def slabs(shape: Sequence[int], classes: int = 1) -> Iterator[Box]:
    """Boxes that cover a volume: whole planes across its first axis, at most `SLAB` voxels x classes or one plane."""
    rest = tuple(slice(0, size) for size in shape[1:])
    planes = max(1, SLAB // max(1, classes * int(np.prod(shape[1:]))))
    for start in range(0, shape[0], planes):
        yield (slice(start, min(start + planes, shape[0])), *rest)


def moved(box: Box, by: Sequence[slice]) -> Box:
    """A box of a box, as a box of the volume."""
    return tuple(slice(part.start + o.start, part.stop + o.start) for part, o in zip(box, by, strict=True))


def parts(values: np.ndarray, box: Box | None = None) -> Iterator[tuple[Box, np.ndarray]]:
    """What a map may hold but zeros, a slab at a time.

    Args:
        values: `[*S]`, an array or what has `parts` of its own (`inference.volumes.BoxVolume`).
        box: of it; None is all of it.

    Returns:
        Where each part lies in the box, and its values.
    """
    box = tuple(slice(0, size) for size in values.shape) if box is None else box
    if hasattr(values, "parts"):
        for place, found in values.parts(box):
            for slab in slabs(found.shape):
                yield moved(slab, place), found[slab]
    else:
        for slab in slabs([part.stop - part.start for part in box]):
            yield slab, values[moved(slab, box)]


class MaskedMap:
    """A map `[*S]` that is 0 outside of a mask, without a copy of it; array and mask may be maps of boxes.

    Args:
        values: `[*S]`.
        mask: bool `[*S]`.
    """

    def __init__(self, values: np.ndarray, mask: np.ndarray) -> None:
        self.values, self.mask, self.shape = values, mask, values.shape

    def __getitem__(self, box: Box) -> np.ndarray:
        return np.where(self.mask[box], self.values[box], 0)

    def parts(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """As `boxes.parts`."""
        for place, found in parts(self.values, box):
            yield place, np.where(self.mask[moved(place, box)], found, 0)


def islands(mask: np.ndarray) -> Iterator[Box]:
    """Boxes that hold a mask `[*S]`, none of them with an empty plane: what is connected lies in one of them."""
    for axis in range(mask.ndim):
        hit = mask.any(tuple(other for other in range(mask.ndim) if other != axis))
        if hit.all():
            continue
        for (run,) in ndimage.find_objects(ndimage.label(hit)[0]):
            cut = (*(slice(0, size) for size in mask.shape[:axis]), run, *(slice(0, n) for n in mask.shape[axis + 1 :]))
            yield from (moved(box, cut) for box in islands(mask[cut]))
        return
    yield tuple(slice(0, size) for size in mask.shape)
