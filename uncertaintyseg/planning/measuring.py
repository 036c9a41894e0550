"""Measuring one case: what its scan and its label hold, whichever way they are stored.

Scan and label are turned to RAS+ and gone through plane by plane, so nothing but themselves is in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.orientations import aff2axcodes, apply_orientation, io_orientation

from uncertaintyseg.data.case_labels import IGNORED, is_mask_clip, read_case_label
from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.checks import by, check_thickness, check_values, check_whole, named
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.label_grid import Grid, grid_turn, turned
from uncertaintyseg.data.scan import unchecked, unchecked_volumes
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.data.time_axis import is_clip, said_beside, spacing_known
from uncertaintyseg.data.writing import MAX_LABEL
from uncertaintyseg.errors import GridError, InputError
from uncertaintyseg.planning.facts import Axes, CaseFacts, Intensities, Problem

if TYPE_CHECKING:
    from uncertaintyseg.data.dataset import DataSet
    from uncertaintyseg.data.layouts import Case

SAMPLE = 2000
"""Intensities that are kept of each channel of a case."""
_MOST = 1 << 20  # voxels of structures that ranks are taken from
_SAME_GRID = 1e-3  # mm, as `data.channels`
_FEWEST = 512  # voxels of a scan: 8 x 8 x 8


@dataclass(frozen=True)
class Meaning:
    """What the numbers and files of a data set stand for."""

    ids: dict[str, int]
    """Our id by name of the structure."""
    values: dict[int, int]
    """Our id by number in the files; empty where they are the same."""
    ignore: int | None
    channels: int

    @classmethod
    def of(cls, dataset: DataSet) -> Meaning:
        """Of a data set."""
        return cls({row.name: row.id for row in dataset.labels}, dataset.values, dataset.ignore, len(dataset.channels))


class Measured(NamedTuple):
    """What was found in a case; without facts it cannot be used at all."""

    facts: CaseFacts | None
    problems: list[Problem]


class Volumes(NamedTuple):
    """A case as it is read, its axes turned to RAS+."""

    channels: list[np.ndarray]
    """float32 `[X, Y, Z]` each."""
    ids: np.ndarray
    """int32 `[X, Y, Z]`, our ids, -1 where nobody said what is there."""
    spacing: tuple[float, float, float]
    """In mm."""
    orientation: str
    """Of the axes of the file, such as "LPS"; of images and clips "image"."""
    unknown: dict[int, int]
    """How many voxels of the label have which number that nobody explained."""
    axes: Axes
    spacing_known: bool


class _Drawn(NamedTuple):
    ids: np.ndarray
    """int32, -1 where nobody said what is there."""
    unknown: dict[int, int]


def measure(case: Case, meaning: Meaning) -> Measured:
    """Measure a case with a label.

    What makes it useless is among the problems; nothing that a file holds is raised.
    """
    try:
        return _measured(case, meaning)
    except GridError as error:
        return Measured(None, [Problem(case.id, "grid", str(error), "error")])
    except InputError as error:
        return Measured(None, [Problem(case.id, "unreadable", str(error), "error")])
    except MemoryError:
        text = "there is not memory enough to read it; close other programs, or leave it out."
        return Measured(None, [Problem(case.id, "memory", text, "error")])


def _measured(case: Case, meaning: Meaning) -> Measured:
    try:
        files = channel_files(case.image, meaning.channels)
    except InputError as error:
        return Measured(None, [Problem(case.id, "channels", str(error), "error")])
    problems = _further_channel(case, files)
    volumes = _read(case, meaning, files)
    ids, counts = volumes.ids, _counts(volumes.ids)
    pass_ = _Pass(case.id, ids, counts, len(volumes.channels))
    for number, array in enumerate(volumes.channels):
        pass_.channel(number, array)
        problems += _image(case, files[min(number, len(files) - 1)], pass_.found[number])
    problems += _twice(case, files, volumes.channels, pass_.found)
    if ids.size < _FEWEST:
        text = f"{files[0]}: {by(ids.shape)} voxels, {ids.size} in all: nothing to learn from. Leave it out."
        problems.append(Problem(case.id, "size", text, "error"))
    facts = CaseFacts(
        case.id,
        tuple(int(n) for n in ids.shape),
        volumes.spacing,
        pass_.cropped_shape(),
        volumes.orientation,
        [found.intensities(counts) for found in pass_.found],
        {number: count for number, count in counts.items() if number > 0},
        counts.get(IGNORED, 0) / ids.size,
        volumes.unknown,
        sum(found.nonfinite for found in pass_.found),
        pass_.image_hash.hexdigest(),
        _hash(ids) if any(number > 0 for number in counts) else None,
        volumes.axes,
        volumes.spacing_known,
    )
    return Measured(facts, problems)


def read_volumes(case: Case, meaning: Meaning) -> Volumes:
    """Read the scan and the label of a case.

    Raises:
        InputError: One of them cannot be read, or they lie on different grids.
    """
    return _read(case, meaning, channel_files(case.image, meaning.channels))


def _read(case: Case, meaning: Meaning, files: Sequence[Path]) -> Volumes:
    arrays, affine, about = _channels(files, meaning.channels)
    drawn = _label(case, meaning, files[0], arrays[0], affine)
    axes: Axes = "clip" if is_clip(about) else "image" if arrays[0].shape[2] == 1 else "volume"
    if axes != "volume":  # which lie nowhere in the body
        spacing = (*(float(side) for side in spacing_mm(affine)[:2]), 1.0)
        return Volumes(arrays, drawn.ids, spacing, "image", drawn.unknown, axes, spacing_known(about))
    turn = io_orientation(affine)
    along = np.argsort(turn[:, 0])  # the file's axis that runs along R, A and S
    return Volumes(
        [apply_orientation(array, turn) for array in arrays],
        apply_orientation(drawn.ids, turn),
        tuple(float(spacing_mm(affine)[axis]) for axis in along),
        "".join(aff2axcodes(affine)),
        drawn.unknown,
        axes,
        True,
    )


def _further_channel(case: Case, files: Sequence[Path]) -> list[Problem]:
    """A case may have more channels than the data set: nnU-Net's names tell."""
    first, *_ = files
    head, mark, tail = first.name.rpartition("_0000")
    more = first.with_name(f"{head}_{len(files):04d}{tail}")
    if not mark or not more.exists():
        return []
    text = f"{more}: a channel more than the {len(files)} that the data set has; name it in dataset.json, or remove it."
    return [Problem(case.id, "channels", text, "error")]


def _channels(files: Sequence[Path], count: int) -> tuple[list[np.ndarray], np.ndarray, Mapping[str, object]]:
    arrays, affine, about = _first(files[0], count if len(files) < count else 1)
    first = arrays[0]
    with named(files[0]):
        check_thickness(first.shape[:2])
    for file in files[1:]:
        array, other, _ = unchecked(file)
        if array.shape != first.shape or not np.allclose(other, affine, rtol=0, atol=_SAME_GRID):
            raise GridError(
                f"{file}: its grid is not that of {files[0]}. Register the channels, and resample them onto one grid."
            )
        arrays.append(array)
    return arrays, affine, about


def _first(file: Path, count: int) -> tuple[list[np.ndarray], np.ndarray, Mapping[str, object]]:
    """The channels that a scan's first file holds: all of them or the first."""
    if count > 1:
        return *unchecked_volumes(file, count), {}
    array, affine, about = unchecked(file)
    return [array], affine, about


def _label(case: Case, meaning: Meaning, image: Path, scan: np.ndarray, affine: np.ndarray) -> _Drawn:
    """Our ids on the scan's axes; of a volume without names also what they leave open."""
    if case.label is None:
        raise InputError(f"{case.image}: case {case.id} has no label.")
    if (case.label.is_dir() and not is_mask_clip(case)) or segments_in(case.label):
        like = MetaTensor(torch.from_numpy(scan)[None], affine=torch.as_tensor(affine))
        like.meta["filename_or_obj"] = str(image)
        label = read_case_label(case, meaning.ids, like=like, ignore=meaning.ignore, values=meaning.values)
        return _Drawn(label[0].numpy().astype(np.int32), {})
    values, place, about = unchecked(case.label, label=True)
    if not spacing_known(about) and values.shape == scan.shape:
        place = affine  # a picture counts pixels, and nothing else
    with named(case.label):
        check_whole(values)
        turn = grid_turn(place, values.shape, Grid(scan.shape, affine, str(image)))
        numbers = turned(values.astype(np.uint16), turn)
    return _translated(numbers, meaning)


def _translated(numbers: np.ndarray, meaning: Meaning) -> _Drawn:
    """Our ids for the numbers of a file; what has none is counted, and background."""
    known = dict(meaning.values) or {number: number for number in meaning.ids.values()}
    if meaning.ignore is not None:
        known[meaning.ignore] = IGNORED
    counts = np.zeros(MAX_LABEL + 1, np.int64)
    for plane in np.moveaxis(numbers, 2, 0):
        counts += np.bincount(plane.ravel(), minlength=counts.size)
    unknown = {int(n): int(counts[n]) for n in np.flatnonzero(counts) if n and int(n) not in known}
    table = np.zeros(MAX_LABEL + 1, np.int32)
    for number, ours in known.items():
        table[number] = ours
    return _Drawn(table[numbers], unknown)


def _counts(ids: np.ndarray) -> dict[int, int]:
    """Voxels by id, without the background."""
    counts = np.zeros(int(ids.max()) + 2, np.int64)
    for plane in np.moveaxis(ids, 2, 0):
        counts += np.bincount(plane.ravel() + 1, minlength=counts.size)
    return {int(n) - 1: int(counts[n]) for n in np.flatnonzero(counts) if n != 1}


class _Moments:
    """Count, mean, standard deviation and extremes of what comes in pieces, about a first guess of the mean."""

    def __init__(self) -> None:
        self.count, self.sum, self.square = 0, 0.0, 0.0
        self.shift: float | None = None
        self.low, self.high = float("inf"), float("-inf")

    def add(self, values: np.ndarray) -> None:
        if not values.size:
            return
        if self.shift is None:
            self.shift = float(values.mean(dtype=np.float64))
        off = values.astype(np.float64) - self.shift
        self.count += values.size
        self.sum += float(off.sum())
        self.square += float(off @ off)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def told(self) -> tuple[float, float, float, float]:
        """Mean, standard deviation, minimum, maximum; NaN without a value."""
        if not self.count:
            return (float("nan"),) * 4
        mean = self.sum / self.count
        return self.shift + mean, max(0.0, self.square / self.count - mean**2) ** 0.5, self.low, self.high


class _Channel:
    """What is gathered of a channel."""

    def __init__(self, ids: int, chosen: int) -> None:
        self.image, self.structures = _Moments(), _Moments()
        self.sums = np.zeros(ids)
        self.nonfinite = 0
        self.chosen = np.empty(chosen, np.float32)
        """Of the structures' voxels, those that ranks are taken from."""

    def intensities(self, counts: Mapping[int, int]) -> Intensities:
        values = np.sort(self.chosen[np.isfinite(self.chosen)])
        ranks = (np.arange(SAMPLE) + 0.5) / SAMPLE * values.size
        sample = values[ranks.astype(np.int64)] if values.size else values
        mean, std, low, high = self.image.told()
        scale = std or 1.0
        contrast = {n: float((self.sums[n] / counts[n] - mean) / scale) for n in counts if n > 0}
        return Intensities(*self.structures.told(), sample, mean, std, low, high, contrast)


class _Pass:
    """One walk over the planes of each channel."""

    def __init__(self, case_id: str, ids: np.ndarray, counts: Mapping[int, int], channels: int) -> None:
        self.ids, self.image_hash = ids, hashlib.blake2b(str(ids.shape).encode(), digest_size=16)
        total = sum(count for number, count in counts.items() if number > 0)
        self._chosen = None
        if total > _MOST:  # the same ones in every channel and at every time
            seed = zlib.crc32(case_id.encode())
            self._chosen = np.sort(np.random.default_rng(seed).integers(total, size=_MOST))
        self.found = [_Channel(max([0, *counts]) + 1, min(total, _MOST)) for _ in range(channels)]
        self._filled = [np.zeros(n, bool) for n in ids.shape]

    def channel(self, number: int, array: np.ndarray) -> None:
        found, before = self.found[number], 0
        for k in range(array.shape[2]):
            plane = np.ascontiguousarray(array[:, :, k].T)  # the same order, however the file has it
            ids = self.ids[:, :, k].T
            self.image_hash.update(plane)
            filled = plane != 0
            for axis, seen in enumerate((filled.any(0), filled.any(1), filled.any())):
                part = self._filled[axis] if axis < 2 else self._filled[2][k : k + 1]
                part |= seen
            inside = ids > 0
            values, theirs = plane[inside], ids[inside]
            self._choose(found, values, before)
            before += values.size
            finite = np.isfinite(plane)
            if not finite.all():
                found.nonfinite += int(plane.size - np.count_nonzero(finite))
                usable = np.isfinite(values)
                values, theirs, plane = values[usable], theirs[usable], plane[finite]
            found.image.add(plane.ravel())
            found.structures.add(values)
            found.sums += np.bincount(theirs, weights=values, minlength=found.sums.size)

    def _choose(self, found: _Channel, values: np.ndarray, before: int) -> None:
        """Keep those of the structures' voxels from number `before` on that are chosen."""
        if self._chosen is None:
            found.chosen[before : before + values.size] = values
            return
        first, last = np.searchsorted(self._chosen, (before, before + values.size))
        found.chosen[first:last] = values[self._chosen[first:last] - before]

    def cropped_shape(self) -> tuple[int, int, int]:
        """Of the box around what is not 0, of everything where all is 0."""
        places = [np.flatnonzero(seen) for seen in self._filled]
        sides = (p[-1] - p[0] + 1 if p.size else n for p, n in zip(places, self.ids.shape, strict=True))
        return tuple(int(side) for side in sides)


def _image(case: Case, file: Path, found: _Channel) -> list[Problem]:
    """Whether a channel can be learnt from, by the rules of `read_scan`."""
    try:
        with named(file):
            check_values(found.image.low, found.image.high, found.nonfinite)
    except InputError as error:
        return [Problem(case.id, "nonfinite" if found.nonfinite else "constant", str(error), "error")]
    return []


def _twice(
    case: Case, files: Sequence[Path], channels: Sequence[np.ndarray], found: Sequence[_Channel]
) -> list[Problem]:
    """One image in place of two channels, of which `read_scan` says nothing and a prediction would be refused."""
    told = [channel.image.told() for channel in found]
    for second in range(1, len(channels)):
        for first in range(second):
            if told[first] == told[second] and np.array_equal(channels[first], channels[second]):
                file = files[min(second, len(files) - 1)]
                text = (
                    f"{file}: channel {second + 1} is channel {first + 1} voxel by voxel, one image in the place "
                    "of two. Put the right one there, or leave the case out."
                )
                return [Problem(case.id, "channels", text, "error")]
    return []


def _hash(ids: np.ndarray) -> str:
    found = hashlib.blake2b(str(ids.shape).encode(), digest_size=16)
    for k in range(ids.shape[2]):
        found.update(np.ascontiguousarray(ids[:, :, k].T))
    return found.hexdigest()


def files_of(case: Case, meaning: Meaning) -> list[Path]:
    """All files that `measure` reads, as far as they are there."""
    found: list[Path] = []
    try:
        images = channel_files(case.image, meaning.channels)
    except InputError:
        images = [case.image]
    for path in (*images, *([case.label] if case.label else [])):
        with contextlib.suppress(InputError):
            found += scan_files(path)
    return [*found, *said_beside(case.image)]
