"""Places to look at: connected pieces of error probability in and around each structure, worst first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.metrics.frames import frames
from uncertaintyseg.review.boxes import Box, islands, moved, parts, slabs
from uncertaintyseg.wire import Label, Region

LEVELS = (0.2, 0.35, 0.5, 0.7, 0.9)
"""A voxel is doubted from the first error probability; pieces longer than `LONGEST_MM` are cut at the next ones."""
LONGEST_MM = 10.0
"""A doubted rim can run all around an organ; a place to look at is not longer than this, if a higher level cuts it."""
THIN = 2
"""Voxels on either side of a structure's surface that are its border."""


class _Piece(NamedTuple):
    """A connected set of voxels of one structure, doubted at a level; small, as there may be thousands.

    Attributes:
        expected: expected number of wrong voxels.
        voxel: one of them, by which the rest are found again.
    """

    structure: Label
    box: Box
    level: int
    voxel: tuple[int, ...]
    expected: float


class _Voxels(NamedTuple):
    """Those of a piece, in its box: where they are, and their error probability (0 elsewhere)."""

    inside: np.ndarray
    error: np.ndarray


def regions(
    label: np.ndarray,
    error_probability: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    alternative: np.ndarray | None = None,
    limit: int = 20,
    clip: bool = False,
    voxel_ml: float | None = None,
) -> list[Region]:
    """The places where most wrong volume is expected, over all structures.

    A doubted voxel belongs to the structure it is labelled as; in the background to the one that it most likely is
    instead. So each is counted once. A region is a piece of a structure's doubted voxels that is connected by faces,
    and opens at the slice (across the axis nearest to head-foot) that holds most of its expected error. Pieces where
    less than one wrong voxel is expected are left out.

    Its kind is "extra" when three quarters of its expected error lie inside of the structure, "missed" when they lie
    outside, and "border" otherwise or when half of it lies within two voxels of the structure's surface. A region that
    holds half or more of the pieces of the structure that it touches, and a quarter of its error inside of them, is
    "extra" however thin: what is labelled there may not be there at all.

    Args:
        label: class ids `[X, Y, Z]`, of the model or of anyone else.
        error_probability: 1 - p[label] `[X, Y, Z]`.
        probabilities: E[p] of each structure by name, `[X, Y, Z]`; arrays or maps of boxes.
        labels: the structures.
        affine: 4x4, voxel to RAS+ mm.
        alternative: the structure that each background voxel most likely is instead, `[X, Y, Z]`, 0 for none; where
            it is not known it is found in the probabilities.
        limit: regions at most.
        clip: the third axis is time: regions lie in a frame each, and no structure goes on in another.
        voxel_ml: how large a voxel counts, where that is not its volume in mL, such as the area of a pixel.

    Raises:
        InputError: for an error probability of another shape than the label's.
    """
    check_shapes("the error probability", error_probability.shape, label.shape)
    affine = np.asarray(affine, dtype=np.float64)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000 if voxel_ml is None else voxel_ml
    if clip:
        given = label, error_probability, probabilities, labels, affine
        return _of_frames(*given, alternative=alternative, limit=limit, voxel_ml=voxel_ml)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    owner = _owners(label, error_probability, probabilities, labels, alternative)
    order = count()  # of equal ones the first comes first
    heap = [(-piece.expected, next(order), piece) for piece in _doubted(owner, error_probability, labels)]
    heapq.heapify(heap)
    found: list[Region] = []
    while heap and len(found) < limit:
        piece = heapq.heappop(heap)[-1]
        voxels = _voxels(piece, owner, error_probability)
        cut = _cut(piece, voxels) if _length(piece, spacing) > LONGEST_MM else []
        for part in cut:
            heapq.heappush(heap, (-part.expected, next(order), part))
        if not cut:
            found.append(_region(len(found) + 1, piece, voxels, label, affine, spacing, voxel_ml))
    return found


def _of_frames(
    label: np.ndarray,
    error: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    alternative: np.ndarray | None,
    limit: int,
    voxel_ml: float,
) -> list[Region]:
    """The regions of each frame of a clip, the worst of all first."""
    found: list[Region] = []
    extra = [] if alternative is None else [alternative]
    for number, (own, wrong, *rest) in enumerate(frames(label, error, *probabilities.values(), *extra)):
        place, instead = affine.copy(), rest.pop() if extra else None
        place[:3, 3] += number * affine[:3, 2]
        named = dict(zip(probabilities, rest, strict=True))
        for region in regions(own, wrong, named, labels, place, alternative=instead, limit=limit, voxel_ml=voxel_ml):
            ends = tuple((*end[:2], end[2] + number) for end in region.bounding_box)
            found.append(
                region.model_copy(update={"ijk": (*region.ijk[:2], number), "frame": number, "bounding_box": ends})
            )
    worst = sorted(found, key=lambda region: -region.expected_error_ml)[:limit]
    return [region.model_copy(update={"rank": rank}) for rank, region in enumerate(worst, start=1)]


def _owners(
    label: np.ndarray,
    error: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    alternative: np.ndarray | None,
) -> np.ndarray:
    """Class id of the structure that each doubted voxel belongs to, 0 elsewhere, `[X, Y, Z]`."""
    largest = max((item.id for item in labels), default=0)
    owner = np.zeros(label.shape, np.result_type(np.min_scalar_type(largest), label.dtype))
    for slab in slabs(label.shape):
        doubted = error[slab] >= LEVELS[0]
        np.copyto(owner[slab], label[slab], where=doubted)
        around = doubted & (label[slab] == 0)
        if alternative is not None:
            np.copyto(owner[slab], alternative[slab], where=around, casting="same_kind")
        elif around.any():
            owner[slab][around] = _likeliest(around, slab, probabilities, labels)[around]
    return owner


def _likeliest(
    around: np.ndarray, slab: Box, probabilities: Mapping[str, np.ndarray], labels: Sequence[Label]
) -> np.ndarray:
    """Class id of the likeliest structure (of equal ones the first) in the voxels `around` of a slab."""
    best, found = np.zeros(around.shape, np.float32), np.zeros(around.shape, np.uint16)
    for item in labels:
        for here, p in parts(probabilities[item.name], slab):
            where = np.nonzero(around[here])
            if where[0].size:
                values, so_far = p[where], best[here][where]
                better = values > so_far
                found[here][where] = np.where(better, item.id, found[here][where])
                best[here][where] = np.maximum(values, so_far)
    return found


def _doubted(owner: np.ndarray, error: np.ndarray, labels: Sequence[Label]) -> Iterator[_Piece]:
    """Pieces of each structure at the lowest level, in the order of their first voxels."""
    boxes = ndimage.find_objects(owner)
    for item in labels:
        box = boxes[item.id - 1] if item.id <= len(boxes) else None
        if box is not None:
            inside = owner[box] == item.id
            apart = [(moved(island, box), inside[island]) for island in islands(inside)]
            pieces = [piece for place, mask in apart for piece in _pieces(item, place, mask, error[place], 0)]
            yield from sorted(pieces, key=lambda piece: piece.voxel)


def _pieces(item: Label, box: Box, inside: np.ndarray, error: np.ndarray, level: int) -> Iterator[_Piece]:
    """Connected pieces of a mask in a box where one wrong voxel or more is expected."""
    if error[inside].sum(dtype=np.float64) < 0.999:  # most islands; together they expect less than a piece must
        return
    numbers, _ = ndimage.label(inside)
    expected = np.bincount(numbers[inside], weights=error[inside])
    for number, cut in enumerate(ndimage.find_objects(numbers), start=1):
        if expected[number] >= 1:
            mask, place = numbers[cut] == number, moved(cut, box)
            first = np.unravel_index(mask.argmax(), mask.shape)
            voxel = tuple(int(i) + part.start for i, part in zip(first, place, strict=True))
            wrong = float(np.where(mask, error[cut], 0).sum(dtype=np.float64))
            yield _Piece(item, place, level, voxel, wrong)


def _voxels(piece: _Piece, owner: np.ndarray, error: np.ndarray) -> _Voxels:
    """Find a piece again in its box."""
    doubted = error[piece.box]
    numbers, _ = ndimage.label((owner[piece.box] == piece.structure.id) & (doubted >= LEVELS[piece.level]))
    inside = numbers == numbers[tuple(i - part.start for i, part in zip(piece.voxel, piece.box, strict=True))]
    return _Voxels(inside, np.where(inside, doubted, 0))


def _cut(piece: _Piece, voxels: _Voxels) -> list[_Piece]:
    """The two pieces or more into which the lowest of the higher levels cuts a piece; none where no level does."""
    for level in range(piece.level + 1, len(LEVELS)):
        found = list(_pieces(piece.structure, piece.box, voxels.error >= LEVELS[level], voxels.error, level))
        if len(found) > 1:
            return found
    return []


def _length(piece: _Piece, spacing: np.ndarray) -> float:
    return float(max((part.stop - part.start) * side for part, side in zip(piece.box, spacing, strict=True)))


def _region(
    rank: int,
    piece: _Piece,
    voxels: _Voxels,
    label: np.ndarray,
    affine: np.ndarray,
    spacing: np.ndarray,
    voxel_ml: float,
) -> Region:
    first = [part.start for part in piece.box]
    ijk = np.add(first, _place(voxels.error, int(np.abs(affine[2, :3] / spacing).argmax())))
    return Region(
        rank=rank,
        structure=piece.structure.name,
        ras_mm=tuple(round(float(value), 3) for value in affine[:3, :3] @ ijk + affine[:3, 3]),
        ijk=tuple(int(i) for i in ijk),
        bounding_box=(tuple(first), tuple(part.stop - 1 for part in piece.box)),
        volume_ml=round(np.count_nonzero(voxels.inside) * voxel_ml, 4),
        expected_error_ml=round(piece.expected * voxel_ml, 4),
        kind=_kind(piece, voxels, label),
    )


def _place(error: np.ndarray, axis: int) -> np.ndarray:
    """In the slice that holds most of the error, the voxel of the piece nearest to its centre."""
    slices = error.sum(tuple(other for other in range(error.ndim) if other != axis), dtype=np.float64)
    voxels = np.argwhere(error > 0)
    voxels = voxels[voxels[:, axis] == slices.argmax()]
    centre = np.average(voxels, axis=0, weights=error[tuple(voxels.T)])
    return voxels[((voxels - centre) ** 2).sum(1).argmin()]


def _kind(piece: _Piece, voxels: _Voxels, label: np.ndarray) -> Literal["border", "missed", "extra"]:
    near = [THIN + 1] * label.ndim
    far = [part.stop - part.start + THIN + 1 for part in piece.box]
    structure, centre = _around(piece, label, near)
    share = float(voxels.error[structure[centre]].sum(dtype=np.float64)) / piece.expected
    if share > 0.25 and all(_holds_what_it_touches(piece, voxels, label, reach) for reach in (near, far)):
        return "extra"
    border = ndimage.binary_dilation(structure, iterations=THIN)
    border &= ~ndimage.binary_erosion(structure, iterations=THIN, border_value=1)
    if 0.25 < share < 0.75 or 2 * voxels.error[border[centre]].sum(dtype=np.float64) > piece.expected:
        return "border"
    return "extra" if share > 0.5 else "missed"


def _holds_what_it_touches(piece: _Piece, voxels: _Voxels, label: np.ndarray, reach: Sequence[int]) -> bool:
    """Whether a region has half or more of the structure's pieces that it touches, as far as one looks around it."""
    structure, centre = _around(piece, label, reach)
    numbers, number = ndimage.label(structure)
    touched = np.bincount(numbers[centre][voxels.inside], minlength=number + 1)[1:]
    whole = np.bincount(numbers.ravel(), minlength=number + 1)[1:][touched > 0].sum()
    return bool(2 * touched.sum() >= whole > 0)


def _around(piece: _Piece, label: np.ndarray, reach: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Mask of a region's structure so many voxels around its box, and the box in there."""
    box = list(zip(piece.box, reach, strict=True))
    wide = tuple(slice(max(part.start - by, 0), part.stop + by) for part, by in box)
    centre = tuple(slice(part.start - w.start, part.stop - w.start) for part, w in zip(piece.box, wide, strict=True))
    return label[wide] == piece.structure.id, centre
