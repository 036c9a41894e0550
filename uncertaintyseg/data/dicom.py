"""Volumes in DICOM files: the frames that make one, in the order of space, and the grid that they lie on.

Every frame's position counts, of classic slices and of enhanced multi-frame files alike. What is no even, upright stack
is refused; several volumes in one series are told apart by name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from uncertaintyseg.data.dicom_frames import MARKS, Frame, frames_of
from uncertaintyseg.data.scan_files import is_dicom
from uncertaintyseg.errors import InputError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ROUNDING_MM = 0.02  # positions are decimal strings, rounded by the scanner
_TILT = 1e-3  # of the length of the stack
_PARALLEL = 1e-4  # of direction cosines
_MOST_VIEWS = 64
"""Orientations, sizes or spacings in one series: each frame is compared with each of them."""
_LISTED = 10
_VIEWS = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Stack:
    """Frames of one volume along the normal of its slices, and their grid."""

    frames: tuple[Frame, ...]
    affine: np.ndarray
    """4x4, `[column, row, slice]` to RAS+ mm."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        return (*self.frames[0].size, len(self.frames))


def read_headers(files: Sequence[Path]) -> list[Dataset]:
    """Headers of the images among files, without their pixels; `filename` is the file. Raises `InputError`."""
    headers = []
    for path in files:
        if is_dicom(path):
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True)
                header.filename = str(path)  # of a deflated one pydicom names what it expanded
            except (OSError, EOFError, ValueError, KeyError, AttributeError, InvalidDicomError) as error:
                raise InputError(f"{path.name}: not a readable DICOM file: export it again. ({error})") from error
            if "Rows" in header and "Columns" in header:
                headers.append(header)
    return headers


def choose_volume(headers: Sequence[Dataset], name: str | None = None) -> Stack:
    """The volume of one series.

    Args:
        headers: of all its files, as `read_headers` gives them.
        name: Which of several; None where there is one.

    Raises:
        InputError: The files are none or several series, localizers, or hold several volumes or none of that name: the
            message lists them. Or as `stack_of`. Names no file.
    """
    series = {str(header.get("SeriesInstanceUID")): header for header in headers}
    if len(series) != 1:
        listed = ": " + ", ".join(sorted(_described(header) for header in series.values())) if series else ""
        raise InputError(
            f"{len(series) or 'no'} DICOM series{listed}; give a folder that holds the slices of exactly one."
        )
    volumes = find_volumes(headers)
    scans = {title: frames for title, frames in volumes.items() if not frames[0].is_localizer}
    if name is not None:
        if name not in volumes:
            raise InputError(f"there is no volume {name!r} in this series; there are {_listed(volumes)}.")
        return stack_of(volumes[name])
    if not scans:
        raise InputError("a localizer (ImageType LOCALIZER), made to plan a scan; give the series of the scan itself.")
    if len(scans) > 1:
        raise InputError(
            f"{len(scans)} volumes in this series: {_listed(scans)}. Take out the one that is meant: "
            "uncertaintyseg convert FOLDER OUT.nii.gz --volume NAME"
        )
    return stack_of(next(iter(scans.values())))


def find_volumes(headers: Sequence[Dataset]) -> dict[str, list[Frame]]:
    """Frames of each volume in the files of one series, by a name that people can tell them apart by.

    Raises:
        InputError: A frame has no place, frames lie at the same place and nothing tells them apart, or they are no
            volumes at all. Names no file.
    """
    views: list[list[Frame]] = []
    for frame in (frame for header in headers for frame in frames_of(header)):
        for view in views:
            if _same_view(frame, view[0]):
                view.append(frame)
                break
        else:
            if len(views) == _MOST_VIEWS:
                raise InputError(
                    f"its slices have more than {_MOST_VIEWS} orientations, sizes or spacings, so they are no volume: "
                    "give the slices of one scan."
                )
            views.append([frame])
    volumes: dict[str, list[Frame]] = {}
    for view in views:
        for mark, frames in _told_apart(view).items():
            words = [_view_name(view[0])] if len(views) > 1 else []
            title = ", ".join([*words, *([mark] if mark else [])]) or "all"
            again = (f"{title} ({count})" for count in itertools.count(2))
            volumes[title if title not in volumes else next(name for name in again if name not in volumes)] = frames
    return volumes


def stack_of(frames: Sequence[Frame]) -> Stack:
    """Frames as a grid.

    Raises:
        InputError: Slices are missing, doubled, or shifted against each other. Names no file.
    """
    ordered = tuple(sorted(frames, key=lambda frame: frame.depth))
    first = ordered[0]
    along_row, along_column = first.axes
    between_rows, between_columns = first.spacing
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along_row * between_columns, along_column * between_rows, _step(ordered)], axis=1)
    affine[:3, 3] = first.position
    return Stack(ordered, _LPS_TO_RAS @ affine)


def _step(frames: Sequence[Frame]) -> np.ndarray:
    """Vector from one slice to the next, mm LPS."""
    normal = frames[0].normal
    if len(frames) == 1:
        return normal * (float(frames[0].header.get("SliceThickness") or 0) or 1.0)
    if not _is_even(frames):
        gaps = np.diff([frame.depth for frame in frames])
        raise InputError(
            f"the slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart, unevenly spaced: some are missing or "
            "doubled. Export the complete series, or resample it to even spacing."
        )
    positions = np.array([frame.position for frame in frames])
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    upright = positions[0] + np.outer((positions - positions[0]) @ normal, normal)
    sideways = np.linalg.norm(positions - upright, axis=1).max()
    if sideways > max(_ROUNDING_MM, _TILT * np.linalg.norm(positions[-1] - positions[0])):
        raise InputError(
            f"the slices are shifted against each other (tilted gantry, {sideways:.1f} mm in all): resample the "
            "series to a rectangular grid first."
        )
    return step


def _told_apart(frames: Sequence[Frame]) -> dict[str, list[Frame]]:
    """The volumes in frames of one orientation: one, or by the first mark, or two, that splits them into stacks."""
    if _is_even(frames):
        return {"": list(frames)}
    splits = [_split(frames, names) for names in (*itertools.combinations(_marks(frames), 1),
                                                  *itertools.combinations(_marks(frames), 2))]  # fmt: skip
    splits = [split for split in splits if len(split) > 1 and all(len(part) > 1 for part in split.values())]
    apart = _is_distinct(frames)
    rules: list[Callable[[Sequence[Frame]], bool]] = [_is_even] if apart else [_is_even, _is_distinct]
    for rule in rules:
        for split in splits:
            if all(rule(part) for part in split.values()):
                return split
    if not apart:
        raise InputError("several slices lie at the same place, and nothing in their headers tells them apart.")
    return {"": list(frames)}


def _marks(frames: Sequence[Frame]) -> list[str]:
    """Marks whose values differ."""
    return [name for name in MARKS if len({frame.marks.get(name) for frame in frames}) > 1]


def _split(frames: Sequence[Frame], names: Sequence[str]) -> dict[str, list[Frame]]:
    parts: dict[str, list[Frame]] = {}
    for frame in frames:
        title = ", ".join(f"{MARKS[name]} {frame.marks.get(name, 'none')}" for name in names)
        parts.setdefault(title, []).append(frame)
    return dict(sorted(parts.items()))


def _is_even(frames: Sequence[Frame]) -> bool:
    depths = np.sort([frame.depth for frame in frames])
    if len(depths) < 2:
        return True
    step = (depths[-1] - depths[0]) / (len(depths) - 1)
    off = np.abs(depths - (depths[0] + step * np.arange(len(depths)))).max()
    return bool(step > 0 and off <= _ROUNDING_MM * max(1.0, step) and np.diff(depths).min() > step / 2)


def _is_distinct(frames: Sequence[Frame]) -> bool:
    return bool(np.diff(np.sort([frame.depth for frame in frames])).min() > _ROUNDING_MM)


def _same_view(one: Frame, other: Frame) -> bool:
    return (
        one.size == other.size
        and one.is_localizer == other.is_localizer
        and all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(one.spacing, other.spacing, strict=True))
        and bool(np.abs(one.axes - other.axes).max() <= _PARALLEL)
    )


def _view_name(frame: Frame) -> str:
    view = _VIEWS[int(np.abs(frame.normal).argmax())]
    return f"{'localizer ' if frame.is_localizer else ''}{view} {frame.size[0]} x {frame.size[1]}"


def _listed(volumes: dict[str, list[Frame]]) -> str:
    listed = [f"{title!r} ({len(frames)} slices)" for title, frames in itertools.islice(volumes.items(), _LISTED)]
    return ", ".join([*listed, *([f"and {len(volumes) - _LISTED} more"] if len(volumes) > _LISTED else [])])


def _described(header: Dataset) -> str:
    return f"{str(header.get('SeriesDescription') or 'without a description')!r} (number {header.get('SeriesNumber')})"
