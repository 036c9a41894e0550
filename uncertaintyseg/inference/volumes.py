"""Maps that are zero nearly everywhere: what one structure of many takes up in a large scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Box = tuple[slice, ...]


class Block(NamedTuple):
    """A part of a map.

    Attributes:
        start: index of its first voxel along each axis.
        values: `[*size]`, in memory, memory-mapped or in steps.
    """

    start: tuple[int, ...]
    values: np.ndarray | StepVolume

    @property
    def box(self) -> Box:
        """Where it lies."""
        return tuple(slice(first, first + size) for first, size in zip(self.start, self.values.shape, strict=True))


class _Inflating(NDArrayOperatorsMixin):
    """What reads like an array by parts, and becomes one where numpy computes with all of it."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(i) if isinstance(i, _Inflating) else i for i in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        """What an array can do (`max`, `sum`, `mean`, ...), on the inflated map."""
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")
        return getattr(np.asarray(self), name)


class StepVolume(_Inflating):
    """A map `[*S]` kept in 16 bits: `value = slope * step + intercept`, float32, made of what is read only.

    Args:
        steps: uint16 `[*S]`, in memory or memory-mapped.
        slope: of a step.
        intercept: value of step 0.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, steps: np.ndarray, slope: float, intercept: float) -> None:
        self.steps, self.slope, self.intercept = steps, np.float32(slope), np.float32(intercept)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map."""
        return self.steps.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.steps.ndim

    @property
    def size(self) -> int:
        """Number of voxels."""
        return self.steps.size

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.steps[index].astype(np.float32) * self.slope + self.intercept

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[...].astype(dtype or self.dtype, copy=False)


class BoxVolume(_Inflating):
    """A map `[*S]` that is zero outside some blocks.

    Parts of it are read with a tuple of slices and take the memory of that part only; as an operand of numpy it is
    inflated to a whole array.

    Args:
        shape: of the whole map.
        blocks: parts that do not overlap.
        total: sum over all voxels, float64, also of what was too small to be kept; None adds up the blocks.
    """

    def __init__(self, shape: Sequence[int], blocks: Iterable[Block], total: float | None = None) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.blocks = tuple(block for block in blocks if block.values.size)
        self._starts = np.array([block.start for block in self.blocks]).reshape(-1, len(self.shape))
        self._stops = self._starts + np.array([block.values.shape for block in self.blocks]).reshape(self._starts.shape)
        self.total = float(sum(b.values.sum(dtype=np.float64) for b in self.blocks)) if total is None else float(total)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.blocks[0].values.dtype if self.blocks else np.dtype(np.float32)

    @property
    def box(self) -> Box:
        """The smallest box that holds all blocks; an empty one where there is none."""
        if not self.blocks:
            return (slice(0, 0),) * self.ndim
        return tuple(slice(int(a), int(b)) for a, b in zip(self._starts.min(0), self._stops.max(0), strict=True))

    def parts(self, box: Sequence[slice]) -> Iterator[tuple[Box, np.ndarray]]:
        """What the blocks have within a box: where each part lies in the box, and its values."""
        begin, end = [part.start for part in box], [part.stop for part in box]
        first, last = np.maximum(self._starts, begin), np.minimum(self._stops, end)
        for index in np.flatnonzero((first < last).all(1)):
            block, low, high = self.blocks[index], first[index].tolist(), last[index].tolist()
            here = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, begin, strict=True))
            yield here, block.values[tuple(slice(a - o, b - o) for a, b, o in zip(low, high, block.start, strict=True))]

    def __getitem__(self, index: Any) -> np.ndarray:
        if not (isinstance(index, tuple) and len(index) == self.ndim and all(isinstance(i, slice) for i in index)):
            return np.asarray(self)[index]
        bounds = [part.indices(size) for part, size in zip(index, self.shape, strict=True)]
        if any(step != 1 for _, _, step in bounds):
            return np.asarray(self)[index]
        box = tuple(slice(first, max(first, last)) for first, last, _ in bounds)
        found = np.zeros([part.stop - part.start for part in box], self.dtype)
        for here, values in self.parts(box):
            found[here] = values
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[tuple(slice(0, size) for size in self.shape)].astype(dtype or self.dtype, copy=False)
