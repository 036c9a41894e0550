"""Places to look at: connected pieces of error probability in and around each structure, worst first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from uncertaintyseg.wire import Label, Region

LEVELS = (0.2, 0.35, 0.5, 0.7, 0.9)
"""A voxel is doubted from the first error probability; pieces longer than `LONGEST_MM` are cut at the next ones."""
LONGEST_MM = 10.0
"""A doubted rim can run all around an organ; a place to look at is not longer than this, if a higher level cuts it."""
THIN = 2
"""Voxels on either side of a structure's surface that are its border."""


class _Piece(NamedTuple):
    """A connected set of doubted voxels of one structure."""

    structure: Label
    box: tuple[slice, ...]
    inside: np.ndarray
    error: np.ndarray
    level: int

    @property
    def expected(self) -> float:
        """Expected number of wrong voxels."""
        return float(self.error.sum(dtype=np.float64))


def regions(
    label: np.ndarray,
    error_probability: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    limit: int = 20,
) -> list[Region]:
    """The places where most wrong volume is expected, over all structures.

    A doubted voxel belongs to the structure it is labelled as; in the background to the one that it most likely is
    instead. So each is counted once. A region is a piece of a structure's doubted voxels that is connected by faces,
    and opens at the slice (across the axis nearest to head-foot) that holds most of its expected error. Pieces where
    less than one wrong voxel is expected are left out.

    Its kind is "extra" when three quarters of its expected error lie inside of the structure, "missed" when they lie
    outside, and "border" otherwise or when half of it lies within two voxels of the structure's surface. A region that
    holds half or more of the pieces of the structure that it touches is "extra" however thin: what is labelled there
    may not be there at all.

    Args:
        label: class ids `[X, Y, Z]`, of the model or of anyone else.
        error_probability: 1 - p[label] `[X, Y, Z]`.
        probabilities: E[p] of each structure by name, `[X, Y, Z]`.
        labels: the structures.
        affine: 4x4, voxel to RAS+ mm.
        limit: regions at most.
    """
    affine = np.asarray(affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    order = count()  # of equal ones the first comes first
    heap = [
        (-piece.expected, next(order), piece) for piece in _doubted(label, error_probability, probabilities, labels)
    ]
    heapq.heapify(heap)
    found: list[Region] = []
    while heap and len(found) < limit:
        piece = heapq.heappop(heap)[-1]
        parts = _cut(piece) if _length(piece, spacing) > LONGEST_MM else []
        for part in parts:
            heapq.heappush(heap, (-part.expected, next(order), part))
        if not parts:
            found.append(_region(len(found) + 1, piece, label, affine, spacing))
    return found


def _doubted(
    label: np.ndarray, error: np.ndarray, probabilities: Mapping[str, np.ndarray], labels: Sequence[Label]
) -> Iterator[_Piece]:
    doubted = error >= LEVELS[0]
    owner = np.where(doubted, label, 0).astype(np.uint16)
    around = np.nonzero(doubted & (label == 0))
    best = np.zeros(len(around[0]), np.float32)
    for item in labels:
        p = probabilities[item.name][around]
        owner[tuple(axis[p > best] for axis in around)] = item.id
        np.maximum(best, p, out=best)
    boxes = ndimage.find_objects(owner)
    for item in labels:
        box = boxes[item.id - 1] if item.id <= len(boxes) else None
        if box is not None:
            yield from _pieces(item, box, owner[box] == item.id, error[box], 0)


def _pieces(item: Label, box: tuple[slice, ...], inside: np.ndarray, error: np.ndarray, level: int) -> Iterator[_Piece]:
    """Connected pieces of a mask in a box where one wrong voxel or more is expected."""
    parts, _ = ndimage.label(inside)
    expected = np.bincount(parts[inside], weights=error[inside])
    for number, cut in enumerate(ndimage.find_objects(parts), start=1):
        if expected[number] >= 1:
            place = tuple(slice(b.start + c.start, b.start + c.stop) for b, c in zip(box, cut, strict=True))
            mask = parts[cut] == number
            yield _Piece(item, place, mask, np.where(mask, error[cut], 0), level)


def _cut(piece: _Piece) -> list[_Piece]:
    """The two pieces or more into which the lowest of the higher levels cuts a piece; none where no level does."""
    for level in range(piece.level + 1, len(LEVELS)):
        parts = list(_pieces(piece.structure, piece.box, piece.error >= LEVELS[level], piece.error, level))
        if len(parts) > 1:
            return parts
    return []


def _length(piece: _Piece, spacing: np.ndarray) -> float:
    return float(max(size * side for size, side in zip(piece.inside.shape, spacing, strict=True)))


def _region(rank: int, piece: _Piece, label: np.ndarray, affine: np.ndarray, spacing: np.ndarray) -> Region:
    first = [part.start for part in piece.box]
    ijk = np.add(first, _place(piece.error, int(np.abs(affine[2, :3] / spacing).argmax())))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return Region(
        rank=rank,
        structure=piece.structure.name,
        ras_mm=tuple(round(float(value), 3) for value in affine[:3, :3] @ ijk + affine[:3, 3]),
        ijk=tuple(int(i) for i in ijk),
        bounding_box=(tuple(first), tuple(part.stop - 1 for part in piece.box)),
        volume_ml=round(np.count_nonzero(piece.inside) * voxel_ml, 4),
        expected_error_ml=round(piece.expected * voxel_ml, 4),
        kind=_kind(piece, label),
    )


def _place(error: np.ndarray, axis: int) -> np.ndarray:
    """In the slice that holds most of the error, the voxel of the piece nearest to its centre."""
    slices = error.sum(tuple(other for other in range(error.ndim) if other != axis), dtype=np.float64)
    voxels = np.argwhere(error > 0)
    voxels = voxels[voxels[:, axis] == slices.argmax()]
    centre = np.average(voxels, axis=0, weights=error[tuple(voxels.T)])
    return voxels[((voxels - centre) ** 2).sum(1).argmin()]


def _kind(piece: _Piece, label: np.ndarray) -> Literal["border", "missed", "extra"]:
    near = [THIN + 1] * label.ndim
    far = [part.stop - part.start + THIN + 1 for part in piece.box]
    if _holds_what_it_touches(piece, label, near) and _holds_what_it_touches(piece, label, far):
        return "extra"
    structure, centre = _around(piece, label, near)
    share = float(piece.error[structure[centre]].sum(dtype=np.float64)) / piece.expected
    border = ndimage.binary_dilation(structure, iterations=THIN)
    border &= ~ndimage.binary_erosion(structure, iterations=THIN, border_value=1)
    if 0.25 < share < 0.75 or 2 * piece.error[border[centre]].sum(dtype=np.float64) > piece.expected:
        return "border"
    return "extra" if share > 0.5 else "missed"


def _holds_what_it_touches(piece: _Piece, label: np.ndarray, reach: Sequence[int]) -> bool:
    """Whether a region has half or more of the structure's pieces that it touches, as far as one looks around it."""
    structure, centre = _around(piece, label, reach)
    parts, number = ndimage.label(structure)
    touched = np.bincount(parts[centre][piece.inside], minlength=number + 1)[1:]
    whole = np.bincount(parts.ravel(), minlength=number + 1)[1:][touched > 0].sum()
    return bool(2 * touched.sum() >= whole > 0)


def _around(piece: _Piece, label: np.ndarray, reach: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Mask of a region's structure so many voxels around its box, and the box in there."""
    box = list(zip(piece.box, reach, strict=True))
    wide = tuple(slice(max(part.start - by, 0), part.stop + by) for part, by in box)
    centre = tuple(slice(part.start - w.start, part.stop - w.start) for part, w in zip(piece.box, wide, strict=True))
    return label[wide] == piece.structure.id, centre
