"""Finished planes of the model's grid, brought to the scan's grid a few planes at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from uncertaintyseg.data.geometry import resample
from uncertaintyseg.inference.stream.averages import Average
from uncertaintyseg.inference.stream.windows import Slab

CHUNK_BYTES = 2**26
"""Of one chunk, unless one plane takes more."""
_CHANNELS = 16
"""Channels that are interpolated at once, for the sake of the memory between the axes."""
_TOLERANCE = 1e-3
"""Voxels by which grids may be off (float32 affines in files are by about 1e-5) and still be taken for coinciding."""
_HALF = 0.5 + 1e-6


class Chunk(NamedTuple):
    """All that is known of some planes of the scan.

    Attributes:
        axis: that the planes follow one another along.
        box: where they lie in the scan.
        probability: E[p] `[C, planes, *other axes]`, the other axes in the scan's order.
        maps: by name, `[planes, *other axes]`.
        label: class ids `[planes, *other axes]` where they are not those of the largest probability.
        inside: which voxels the model saw, `[planes, *other axes]`; None: all.
    """

    axis: int
    box: tuple[slice, ...]
    probability: Tensor
    maps: Mapping[str, Tensor]
    label: Tensor | None
    inside: Tensor | None


class Line(NamedTuple):
    """Where the voxels along one axis of the scan fall on an axis of the model's grid.

    Attributes:
        source: that axis.
        low: index of the voxel before each `[n]`.
        high: and behind it; the same where it falls on one.
        weight: of the latter, float32.
        inside: whether it is in the field of view.
    """

    source: int
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    inside: np.ndarray

    def part(self, planes: slice | np.ndarray) -> Line:
        """Some of the voxels."""
        return Line(self.source, *(value[planes] for value in self[1:]))


class GridMap:
    """How the voxels of a scan fall on the grid that its model saw.

    Where the axes of both run along one another, interpolation is separable: linear, with values held at the border
    within the field of view (a voxel's own extent belongs to it), and exact where voxels coincide, as
    `data.geometry.resample` has it. Grids that are sheared against each other are brought together by the latter.

    Args:
        model_affine: 4x4, voxels of the model's grid to mm.
        model_shape: of that grid.
        scan_affine: 4x4.
        shape: of the scan.
        nearest: axes of the model's grid along which the nearest voxel is taken instead.
        region: the box of the scan that is wanted; None: all of it.
    """

    def __init__(
        self,
        model_affine: ArrayLike,
        model_shape: Sequence[int],
        scan_affine: ArrayLike,
        shape: Sequence[int],
        *,
        nearest: Sequence[int] = (),
        region: Sequence[slice] | None = None,
    ) -> None:
        self.model_affine, self.scan_affine = (np.asarray(a, dtype=np.float64) for a in (model_affine, scan_affine))
        self.model_shape, self.shape = tuple(model_shape), tuple(shape)
        self.region = tuple(slice(0, size) for size in shape) if region is None else tuple(region)
        self._nearest = set(nearest)
        self.to_model = np.linalg.inv(self.model_affine) @ self.scan_affine
        turn = np.abs(self.to_model[:3, :3])
        self.sources = tuple(int(axis) for axis in turn.argmax(0))
        across = (turn * (np.array(self.shape) - 1)).sum(1) - [
            turn[source, axis] * (self.shape[axis] - 1) for axis, source in sorted(enumerate(self.sources), key=_second)
        ]
        self.separable = sorted(self.sources) == [0, 1, 2] and bool((across <= _TOLERANCE).all())

    def planes_axis(self, axis: int) -> int:
        """The axis of the scan that runs along an axis of the model's grid."""
        return self.sources.index(axis) if self.separable else 0

    @property
    def covered(self) -> bool:
        """Whether the model saw all of the scan."""
        whole = all(part == slice(0, size) for part, size in zip(self.region, self.shape, strict=True))
        return whole and self.separable and all(self.line(axis).inside.all() for axis in range(3))

    def line(self, axis: int) -> Line:
        """Where the voxels along an axis of the scan fall; for grids that are separable."""
        source, middle = self.sources[axis], (np.array(self.shape) - 1) / 2
        middle[axis] = 0
        row = self.to_model[source]
        place = row[axis] * np.arange(self.shape[axis]) + row[:3] @ middle + row[3]
        if np.abs(place - np.round(place)).max() <= _TOLERANCE:
            place = np.round(place)
        size = self.model_shape[source]
        inside = (place >= -_HALF) & (place <= size - 1 + _HALF)
        held = place.clip(0, size - 1)
        if source in self._nearest:
            held = np.floor(_evenly(place).clip(0, size - 1) + 0.5)  # half-way belongs to the second of two
        low = np.floor(held).astype(np.int64)
        return Line(source, low, np.ceil(held).astype(np.int64), (held - low).astype(np.float32), inside)

    def box_on_model(self) -> tuple[slice, ...]:
        """The part of the model's grid that the region is interpolated from."""
        if not self.separable:
            return tuple(slice(0, size) for size in self.model_shape)
        box: list[slice] = [slice(0, 0)] * 3
        for axis, part in enumerate(self.region):
            line = self.line(axis).part(part)
            box[line.source] = slice(int(line.low.min()), int(line.high.max()) + 1)
        return tuple(box)


@torch.inference_mode()
def onto_grid(
    slabs: Iterable[Slab], grid: GridMap, average: Average, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Planes of the scan, each once, in the order in which the model's planes come.

    Args:
        slabs: planes of the model's grid that cover `grid.box_on_model()`, in order.
        grid: from the model to the scan.
        average: what the slabs hold averages of.
        chunk_bytes: most that one chunk takes, unless one plane takes more.
    """
    reduced = (slab._replace(values=average.reduced(slab.values)) for slab in slabs)
    parts = _separable(reduced, grid, chunk_bytes) if grid.separable else _sheared(reduced, grid, chunk_bytes)
    for axis, box, values, inside in parts:
        found = average.on_scan(values, inside)
        yield Chunk(axis, box, found.probability, found.maps, found.label, inside)


Part = tuple[int, tuple[slice, ...], dict[str, Tensor], "Tensor | None"]


def _separable(slabs: Iterable[Slab], grid: GridMap, chunk_bytes: int) -> Iterator[Part]:
    todo: np.ndarray | None = None
    tail: Mapping[str, Tensor] = {}
    for slab in slabs:
        axis = grid.planes_axis(slab.axis)
        along = grid.line(axis)
        others = [a for a in range(3) if a != axis]
        flat = [grid.line(a).part(grid.region[a]) for a in others]
        if todo is None:
            todo = np.arange(grid.shape[axis])[grid.region[axis]]
            todo = todo[np.argsort(along.low[todo] + along.weight[todo], kind="stable")]
        known = {name: torch.cat([tail[name], v], 1) if tail else v for name, v in slab.values.items()}
        tail = {name: v[:, -1:].clone() for name, v in slab.values.items()}
        stop, plane = slab.planes.stop, next(iter(known.values()))
        ready = int(np.searchsorted(along.high[todo], stop))
        corner = list(slab.corner)
        corner[slab.axis] = stop - plane.shape[1]
        size = 4 * sum(map(len, known.values())) * max(plane[0, 0].numel(), flat[0].low.size * flat[1].low.size)
        count = max(1, chunk_bytes // size)
        for start in range(0, ready, count):
            planes = np.sort(todo[start : min(start + count, ready)])
            here = along.part(planes)
            values = {name: _interpolated(v, (here, *flat), slab.axis, corner) for name, v in known.items()}
            box: list[slice] = list(grid.region)
            box[axis] = slice(int(planes[0]), int(planes[-1]) + 1)
            yield axis, tuple(box), values, _inside(here, flat, plane.device)
        todo = todo[ready:]


def _evenly(place: np.ndarray) -> np.ndarray:
    """Places that run from the first voxel to the last, as `ndimage.zoom` computes them; others as they are."""
    first, last, steps = place[0], place[-1], len(place) - 1
    low, high = sorted((first, last))
    if steps < 1 or abs(low) > _TOLERANCE or abs(high - round(high)) > _TOLERANCE:
        return place
    even = np.arange(len(place)) * (round(high) / steps)
    return even if first < last else even[::-1]


def _second(pair: tuple[int, int]) -> int:
    return pair[1]


def _inside(here: Line, flat: Sequence[Line], device: torch.device) -> Tensor | None:
    if here.inside.all() and all(line.inside.all() for line in flat):
        return None
    both = flat[0].inside[:, None] & flat[1].inside
    return torch.from_numpy(here.inside[:, None, None] & both).to(device)


def _interpolated(value: Tensor, lines: Sequence[Line], axis: int, corner: Sequence[int]) -> Tensor:
    """Planes `[k, planes, *]` of the model's grid, at the places that three lines name: `[k, n, u, v]`."""
    sources = [a for a in range(3) if a != axis]
    order = [2 + sources.index(line.source) for line in lines[1:]]
    shape = (len(value), *(line.low.size for line in lines))
    out = value.new_empty(shape)
    for start in range(0, len(value), _CHANNELS):
        part = value[start : start + _CHANNELS].permute(0, 1, *order)
        for dim, line in ((1, lines[0]), (3, lines[2]), (2, lines[1])):
            part = _along(part, line, dim, corner[line.source])
        out[start : start + _CHANNELS] = part
    return out


def _along(value: Tensor, line: Line, dim: int, first: int) -> Tensor:
    low, high = (torch.from_numpy(index - first).to(value.device) for index in (line.low, line.high))
    if not line.weight.any():
        whole = len(low) == value.shape[dim] and bool((line.low - first == np.arange(len(low))).all())
        return value if whole else value.index_select(dim, low)
    weight = torch.from_numpy(line.weight).to(value.device).reshape([-1, *[1] * (value.ndim - 1 - dim)])
    return torch.lerp(value.index_select(dim, low), value.index_select(dim, high), weight)


def _sheared(slabs: Iterable[Slab], grid: GridMap, chunk_bytes: int) -> Iterator[Part]:
    """Needs the whole of the model's grid."""
    found: list[Slab] = list(slabs)
    back = found[0].axis + 1
    whole = {
        name: torch.cat([slab.values[name] for slab in found], 1).movedim(1, back).contiguous()
        for name in found[0].values
    }
    del found
    seen = torch.ones((1, *grid.model_shape), dtype=torch.uint8, device=next(iter(whole.values())).device)
    first, *others = grid.region
    shape = [1, *(part.stop - part.start for part in others)]
    count = max(1, chunk_bytes // (4 * sum(map(len, whole.values())) * shape[1] * shape[2]))
    for start in range(first.start, first.stop, count):
        planes = range(start, min(start + count, first.stop))
        parts, seen_there = [], []
        for plane in planes:  # one by one: their places are rounded alike however they are bundled
            affine = grid.scan_affine.copy()
            affine[:3, 3] += affine[:3, :3] @ [plane, others[0].start, others[1].start]
            parts.append({n: resample(value, grid.model_affine, affine, shape) for n, value in whole.items()})
            seen_there.append(resample(seen, grid.model_affine, affine, shape, nearest=True)[0] > 0)
        values = {name: torch.cat([part[name] for part in parts], 1) for name in whole}
        inside = torch.cat(seen_there)
        yield 0, (slice(planes.start, planes.stop), *others), values, None if inside.all() else inside
