"""Corrections that enclose: a lasso, a box, and what each says of voxels (METHODS 14).

A lasso is a closed curve on a slice, and all voxels inside are of one class. A box holds a structure: where the
structure's pieces reach out of it they end. A box that is one voxel thick speaks of its slice alone.

What a lasso encloses is painted. To what lies around it is one thing that a person said, heard from its `middle`, and
not as many as it has voxels: these are no independent observations, and taken for such they move right voxels beside
them. A box is not heard around at all: cutting alone was better (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from uncertaintyseg.errors import InputError

_FLAT = 0.5
"""Voxels that corners of a lasso may lie off its plane: a slice view's rounding, not a bent curve."""
_EQUAL = 1e-12
"""Corners that lie no further from a voxel's centre are on it."""

Ijk = tuple[int, int, int]


class Lasso(NamedTuple):
    """Class id of all voxels inside a closed curve, and its corners: IJK on one plane."""

    label: int
    corners: tuple[tuple[float, float, float], ...]


class Box(NamedTuple):
    """Where a structure is: class id, first and last voxel."""

    label: int
    first: Ijk
    last: Ijk

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        return tuple(slice(a, b + 1) for a, b in zip(self.first, self.last, strict=True))

    @property
    def domain(self) -> tuple[slice, slice, slice]:
        """What it speaks of: its slice where it is one voxel thick along one axis, else the scan."""
        thin = [axis for axis, (a, b) in enumerate(zip(self.first, self.last, strict=True)) if a == b]
        parts = [slice(None)] * 3
        if len(thin) == 1:
            parts[thin[0]] = self.inside[thin[0]]
        return tuple(parts)


def check_box(box: Box, shape: Sequence[int]) -> None:
    """Raise `InputError` for a box of no voxel, or one that leaves a scan of this shape."""
    for first, last, size in zip(box.first, box.last, shape, strict=True):
        if not 0 <= first <= last < size:
            raise InputError(
                f"{list(box.first)} to {list(box.last)} is no box in the scan of {_sizes(shape)} voxels; give first "
                "and last voxel, IJK from 0"
            )


def lasso_voxels(corners: ArrayLike, shape: Sequence[int]) -> np.ndarray:
    """Voxels inside a closed curve on a slice of any orientation, one deep along the axis that crosses it most.

    Args:
        corners: IJK `[n, 3]` on one plane; they need not be whole, and voxels are about whole ones.
        shape: of the scan.

    Returns:
        IJK `[m, 3]`, at least one.

    Raises:
        InputError: For fewer than 3 corners, ones off the scan or off one plane, or a curve around no voxel.
    """
    corners = np.asarray(corners, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 3 or len(corners) < 3 or not np.isfinite(corners).all():
        raise InputError("a lasso needs 3 corners or more, three finite numbers each")
    if (corners < -0.5).any() or (corners > np.array(shape) - 0.5).any():
        raise InputError(f"a lasso leaves the scan of {_sizes(shape)} voxels: keep its corners inside")
    centre = corners.mean(0)
    normal = np.linalg.svd(corners - centre, full_matrices=False)[2][2]
    if np.abs((corners - centre) @ normal).max() > _FLAT:
        raise InputError("the corners of a lasso are not on one plane: draw it in one slice view")
    depth = int(np.abs(normal).argmax())
    across = [axis for axis in range(3) if axis != depth]
    low = np.floor(corners[:, across].min(0)).astype(int)
    size = np.ceil(corners[:, across].max(0)).astype(int) - low + 1
    inside = np.argwhere(grid_points_inside(corners[:, across] - low, tuple(size))) + low
    found = np.empty((len(inside), 3), dtype=np.int64)
    found[:, across] = inside
    height = centre[depth] - (inside - centre[across]) @ normal[across] / normal[depth]
    found[:, depth] = np.floor(height + 0.5)
    found = found[((found >= 0) & (found < shape)).all(1)]
    if not len(found):
        raise InputError("a lasso goes around no voxel's centre: draw a larger one")
    return found


def grid_points_inside(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Grid points inside a polygon or on its edge, by the even-odd rule.

    They are those of `skimage.measure.grid_points_in_poly`, which holds each point against each edge. Here each line of
    points meets only the edges that cross it: 500 corners around a slice of 512 x 512 take milliseconds, not a quarter
    of a second.

    Args:
        corners: `[n, 2]`, within the grid.
        size: of the grid, whose points are whole numbers from 0.

    Returns:
        bool `[*size]`.
    """
    (x0, y0), (x1, y1) = np.roll(corners, 1, axis=0).T, corners.T
    low, high, wider = np.minimum(y0, y1), np.maximum(y0, y1), (size[0] + 1, size[1])

    def met(first: np.ndarray, last: np.ndarray, passes: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """How many edges each point of the lines `first` to `last` of each edge has passed; the last bit is right."""
        counts = np.maximum(last - first + 1, 0).astype(np.int64)
        edge = np.repeat(np.arange(len(corners)), counts)
        y = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        above, below = y0[edge] - y, y1[edge] - y
        x = np.rint((x0[edge] * below - x1[edge] * above) / (below - above))
        off = ((x0[edge] - x) * below - (x1[edge] - x) * above) / (below - above)  # of the edge from the point at x
        at = np.ravel_multi_index(((x + passes(off)).clip(0, size[0]).astype(int), y.astype(int)), wider)
        return np.cumsum(np.bincount(at, minlength=wider[0] * wider[1]).reshape(wider), axis=0, dtype=np.uint8)

    from_left = met(np.floor(low) + 1, np.floor(high), lambda off: off >= 0)
    from_right = met(np.ceil(low), np.ceil(high) - 1, lambda off: off > 0)
    inside = ((from_left | (from_right[-1] - from_right)) & 1).astype(bool)[:-1]  # on an edge the two differ
    whole = np.rint(corners)
    corner = whole[(np.abs(corners - whole) < _EQUAL).all(1)].astype(np.int64)
    inside[tuple(corner.T)] = True
    return inside


def middle(voxels: np.ndarray, spacing: Sequence[float]) -> Ijk:
    """The voxel furthest from the rim: of a sheet, as a lasso makes it, within the sheet.

    Args:
        voxels: IJK `[n, 3]`, each once.
        spacing: mm.
    """
    low = voxels.min(0)
    axes = [0, 1, 2]
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        if len(np.unique(voxels[:, others], axis=0)) == len(voxels):
            axes = others
            break
    places = tuple((voxels - low)[:, axes].T + 1)
    mask = np.zeros([int(p.max()) + 2 for p in places], dtype=bool)
    mask[places] = True
    depth = ndimage.distance_transform_edt(mask, sampling=[spacing[a] for a in axes])
    return tuple(voxels[depth[places].argmax()].tolist())


def outside(label: np.ndarray, boxes: Iterable[Box]) -> dict[int, np.ndarray]:
    """Where structures reach out of the boxes that hold them.

    Only pieces (connected by faces) that a box holds a part of count: it says nothing of others. Several boxes of one
    structure hold it together.

    Args:
        label: class ids `[*S]`.
        boxes: within the scan.

    Returns:
        Flat indices by class id, in order; none for a structure that keeps to its boxes.
    """
    found: dict[int, list[np.ndarray]] = {}
    for class_id, domain, held in _together(boxes):
        part = label[domain]
        where = ndimage.find_objects((part == class_id).astype(np.uint8))
        if not where:
            continue
        pieces, _ = ndimage.label(part[where[0]] == class_id)
        start = np.array([d.start or 0 for d in domain]) + [w.start for w in where[0]]
        inside = np.zeros(pieces.shape, dtype=bool)
        for box in held:
            low, high = np.array(box.first) - start, np.array(box.last) + 1 - start
            inside[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True))] = True
        reached = np.unique(pieces[inside & (pieces > 0)])
        out = np.argwhere(np.isin(pieces, reached) & ~inside) + start
        found.setdefault(class_id, []).append(np.ravel_multi_index(tuple(out.T), label.shape))
    joined = {class_id: np.unique(np.concatenate(parts)) for class_id, parts in found.items()}
    return {class_id: voxels for class_id, voxels in sorted(joined.items()) if len(voxels)}


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _together(boxes: Iterable[Box]) -> Iterator[tuple[int, tuple[slice, slice, slice], list[Box]]]:
    """Boxes of one structure that speak of the same part of the scan."""
    groups: dict[tuple, list[Box]] = {}
    for box in sorted(set(boxes)):
        groups.setdefault((box.label, tuple((d.start, d.stop) for d in box.domain)), []).append(box)
    for held in groups.values():
        yield held[0].label, held[0].domain, held
