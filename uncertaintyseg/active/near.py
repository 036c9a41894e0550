"""Means of maps within some millimetres of what is labelled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.ndimage import find_objects

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.metrics.frames import apart

Box = tuple[slice, ...]
SLAB = 1 << 22
"""Voxels at a time."""


def means_near(
    maps: Mapping[str, np.ndarray],
    label: np.ndarray,
    spacing: Sequence[float],
    near_mm: float,
    *,
    of_each: str | None = None,
    clip: bool = False,
) -> tuple[dict[str, float], dict[int, float]]:
    """Means of maps near the foreground, and of the map `of_each` near each structure by class id.

    Both a slab of planes at a time, each with as many planes around it as are near. Where nothing is labelled the means
    are over the volume. In a clip, whose third axis is time, only what lies in the same frame is near.

    Raises:
        InputError: for a map of another shape than the label's.
    """
    for name, values in maps.items():
        check_shapes(f"the map '{name}'", values.shape, label.shape)
    spacing = apart(spacing, clip=clip)
    reach = [int(np.ceil(near_mm / step)) for step in spacing]
    whole: dict[str, _Mean] = {name: _Mean() for name in maps}
    each: dict[int, _Mean] = {}
    for first, last in _planes(label.shape, reach[0]):
        wide = label[max(first - reach[0], 0) : last + reach[0]]
        inner = slice(min(first, reach[0]), min(first, reach[0]) + last - first)
        near = np.zeros((last - first, *label.shape[1:]), bool)
        for class_id, box in enumerate(find_objects(wide), start=1):
            if box is None:
                continue
            grown = tuple(slice(max(part.start - by, 0), part.stop + by) for part, by in zip(box, reach, strict=True))
            inside = within(wide[grown] == class_id, spacing, near_mm)
            planes = slice(max(grown[0].start, inner.start), min(grown[0].start + len(inside), inner.stop))
            if planes.start >= planes.stop:
                continue
            cut = inside[planes.start - grown[0].start : planes.stop - grown[0].start]
            here = (slice(planes.start - inner.start, planes.stop - inner.start), *grown[1:])
            near[here] |= cut
            if of_each:
                place = (slice(first + here[0].start, first + here[0].stop), *grown[1:])
                each.setdefault(class_id, _Mean()).add(maps[of_each][place], cut)
        for name, mean in whole.items():
            mean.add(maps[name][first:last], near)
    if not any(mean.count for mean in whole.values()):
        return {name: float(values.mean(dtype=np.float64)) for name, values in maps.items()}, {}
    return {name: mean.value for name, mean in whole.items()}, {i: each[i].value for i in sorted(each)}


def within(mask: np.ndarray, spacing: Sequence[float], near_mm: float) -> np.ndarray:
    """Voxels whose centre is at most `near_mm` from one of a mask, bool `[*S]`.

    The same as a distance transform and a threshold, in a twentieth of the time for a few voxels: runs along the last
    axis, shifted along the others.
    """
    reach = [int(near_mm / step) + 1 for step in spacing]
    steps = np.meshgrid(*(np.arange(by + 1) * step for by, step in zip(reach, spacing, strict=True)), indexing="ij")
    inside = np.sqrt(np.add.reduce(np.multiply(steps, steps))) <= near_mm
    runs = [mask]
    for by in range(1, inside.shape[-1]):
        runs.append(runs[-1].copy())
        for here, there in _shifted((0,) * (mask.ndim - 1) + (by,), mask.shape):
            runs[-1][here] |= mask[there]
    found = np.zeros_like(mask)
    lengths = inside.sum(-1)
    for shift in zip(*np.nonzero(lengths), strict=True):
        run = runs[lengths[shift] - 1]
        for here, there in _shifted((*shift, 0), mask.shape):
            found[here] |= run[there]
    return found


def _shifted(by: Sequence[int], shape: Sequence[int]) -> Iterator[tuple[Box, Box]]:
    """Boxes of a volume and of the same voxels moved so far, in either direction along each axis."""
    for signs in itertools.product(*((1, -1) if step else (1,) for step in by)):
        moves = [int(sign * step) for sign, step in zip(signs, by, strict=True)]
        if all(abs(move) < size for move, size in zip(moves, shape, strict=True)):
            pairs = list(zip(moves, shape, strict=True))
            yield (
                tuple(slice(max(move, 0), size + min(move, 0)) for move, size in pairs),
                tuple(slice(max(-move, 0), size - max(move, 0)) for move, size in pairs),
            )


def _planes(shape: Sequence[int], reach: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) plane of slabs that are not much smaller than what they take with them."""
    planes = max(2 * reach, SLAB // max(1, int(np.prod(shape[1:]))), 1)
    return ((first, min(first + planes, shape[0])) for first in range(0, shape[0], planes))


class _Mean:
    """Of values that come in parts."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, values: np.ndarray, where: np.ndarray) -> None:
        """Add the values in a mask."""
        self.total += float(values[where].sum(dtype=np.float64))
        self.count += int(np.count_nonzero(where))

    @property
    def value(self) -> float:
        """The mean."""
        return self.total / self.count
