"""A client's label becomes an array on the grid of its scan."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from monailabel_app.errors import TooLargeError
from monailabel_app.intake.nrrd import stream_of
from monailabel_app.intake.stream import Stream
from monailabel_app.intake.volume import Volume
from uncertaintyseg.data.checks import by, check_ids, check_whole, checked_affine, named
from uncertaintyseg.data.label_grid import Grid, grid_turn, turned
from uncertaintyseg.data.nrrd import NrrdHeader, read_nrrd_header
from uncertaintyseg.data.segments import Segment, check_counting, class_ids, merge, place, place_on, segments_of
from uncertaintyseg.data.writing import MAX_LABEL
from uncertaintyseg.errors import InputError

_LAYERS = 64
"""Of segments that overlap."""
_PART_VALUES = 2**24


def read_label(volume: Volume, ids: Mapping[str, int], grid: Grid, told: Sequence[Segment] = ()) -> np.ndarray:
    """Read the voxels of a label.

    Args:
        volume: its voxels are read by this, once its grid is known to be the scan's in some order and direction of the
            axes, so no more of a packed file is expanded than the scan has voxels.
        ids: class ids by name that may occur, besides 0.
        grid: of the scan.
        told: what its numbers are, where the file itself has no names; without any they are class ids.

    Returns:
        uint8 or uint16 `[X, Y, Z]` of class ids on the scan's grid.

    Raises:
        InputError: It is damaged, on another grid, holds something else than whole numbers, or an unknown class.
    """
    segments = volume.segments or told
    numbers = _numbers(volume, grid, range(MAX_LABEL) if segments else ids.values())
    if not segments:
        return numbers
    if not volume.segments:
        check_counting(told, numbers)
    return _compact(merge(numbers[None], segments, class_ids(segments, ids)))


def read_layers(path: Path, ids: Mapping[str, int], grid: Grid) -> np.ndarray | None:
    """Read a `.seg.nrrd` by the names of its segments, which may be layers, and a part of the grid; None without any.

    Nothing is expanded before its place on the scan is known, and then a part at a time: memory is that of the scan's
    label, however many layers there are. Args and errors are those of `read_label`.
    """
    with path.open("rb") as file, named(path):
        header = read_nrrd_header(file)
        segments = segments_of(header.fields)
        if not segments:
            return None
        shape, affine = header.shape[-3:], checked_affine(header.affine)
        if math.prod(header.shape[:-3]) > _LAYERS:
            raise InputError(f"{header.shape[0]} layers of segments, more than the {_LAYERS} that are read here")
        if header.dtype.kind == "f":
            raise InputError("a label holds whole numbers; is this a scan, or a fractional segmentation?")
        if math.prod(shape) > math.prod(grid.shape):
            raise TooLargeError(f"{by(shape)} voxels, its scan has {by(grid.shape)}: crop the segmentation to the scan")
        place_on(affine, grid.affine, grid.shape, grid.scan)
        merged = _merged(stream_of(file, header), header, segments, class_ids(segments, ids))
        return _compact(place(merged.reshape(shape, order="F"), affine, grid.affine, grid.shape, grid.scan))


def _merged(
    stream: Stream, header: NrrdHeader, segments: Sequence[Segment], classes: Mapping[Segment, int]
) -> np.ndarray:
    """Class ids of all voxels, in the order of the file, where the layers of a voxel stand together."""
    count, layers = math.prod(header.shape[-3:]), math.prod(header.shape[:-3])
    merged = np.empty(count, np.int32)
    step = _PART_VALUES // layers
    for start in range(0, count, step):
        part = min(step, count - start)
        values = np.frombuffer(stream.read(part * layers * header.dtype.itemsize), header.dtype)
        values = values.reshape((layers, part, 1, 1), order="F")
        merged[start : start + part] = merge(values, segments, classes)[:, 0, 0]
    stream.end()
    return merged


def _compact(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.uint16)


def _numbers(volume: Volume, grid: Grid, known: Collection[int]) -> np.ndarray:
    turn = grid_turn(volume.affine, volume.shape, grid)
    values = np.empty(math.prod(volume.shape), np.uint8)
    is_known = np.zeros(MAX_LABEL + 1, bool)
    is_known[[0, *known]] = True
    unknown: set[int] = set()
    start = 0
    for chunk in volume.chunks:
        part = _whole_numbers(chunk, volume.scale)
        if not is_known[part].all():
            unknown.update(np.unique(part[~is_known[part]]).tolist())
        if values.dtype == np.uint8 and part.max() > np.iinfo(np.uint8).max:
            values = values.astype(np.uint16)
        values[start : start + part.size] = part
        start += part.size
    check_ids(unknown, known)
    return turned(values.reshape(volume.shape, order="F"), turn)


def _whole_numbers(chunk: np.ndarray, scale: tuple[float, float] | None) -> np.ndarray:
    """As unsigned integers of at most two bytes."""
    if chunk.dtype == np.uint8 and scale is None:
        return chunk
    if scale is not None:
        chunk = chunk * scale[0] + scale[1]
    check_whole(chunk)
    return chunk.astype(np.uint16)
