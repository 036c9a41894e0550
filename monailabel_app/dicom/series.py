"""The headers of one DICOM series in the order of its slices, and its place in space."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from pydicom import Dataset

from monailabel_app.dicom.parsing import Limits, read_header
from uncertaintyseg.data.checks import named
from uncertaintyseg.data.dicom import choose_volume
from uncertaintyseg.data.geometry import LatticeMap, lattice_map
from uncertaintyseg.data.grids import grid_difference
from uncertaintyseg.errors import InputError

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_SAME_FOR_ALL = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns")
_OF_SEVERAL_FRAMES = ("NumberOfFrames", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_SAME_GRID_TOLERANCE = 0.05  # voxels; as for labels in other files


@dataclass(frozen=True)
class Series:
    """Headers without pixels, along the normal of the slices, and the grid they make."""

    headers: Sequence[Dataset]
    affine: np.ndarray
    """4x4, `[column, row, slice]` to RAS+ mm, as `read_scan` gives it for the same series."""
    shape: tuple[int, int, int]
    """Columns, rows, slices."""

    @property
    def uid(self) -> str:
        return str(self.headers[0].SeriesInstanceUID)

    def frames(self, volume: ArrayLike, affine: ArrayLike, name: str) -> np.ndarray:
        """Turn a volume to `[slices, rows, columns]` of this series.

        Args:
            volume: `[X, Y, Z]` on the series' voxels, in any order and direction of its axes.
            affine: 4x4, its voxels to RAS+ mm.
            name: What the error calls it.

        Raises:
            InputError: Its voxels are not those of the series.
        """
        values = np.asarray(volume)
        lattice = lattice_map(affine, self.affine, self.shape, tolerance=_SAME_GRID_TOLERANCE)
        if lattice is None or not self._covers(values.shape, lattice):
            differs = grid_difference(affine, values.shape, self.affine, self.shape, other="the series")
            raise InputError(
                f"{name}: its grid is not that of series {self.uid}: {differs}. Use a volume made from that series"
            )
        backwards = [axis for axis, sign in enumerate(lattice.sign) if sign < 0]
        return np.flip(values.transpose(lattice.axes), backwards).transpose(2, 1, 0)

    def _covers(self, shape: tuple[int, ...], lattice: LatticeMap) -> bool:
        corner = tuple(0 if sign > 0 else n - 1 for sign, n in zip(lattice.sign, self.shape, strict=True))
        return tuple(shape[axis] for axis in lattice.axes) == self.shape and lattice.shift == corner


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID, and so safe as a file name."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_series(folder: str | os.PathLike[str]) -> Series:
    """Read the headers of one series of single-frame slices.

    Attributes that DICOM lets be empty are filled in as empty, so that objects can be derived from the series.

    Raises:
        InputError: A file is not DICOM, the files are not slices of one series with a frame of reference, or the
            slices are no regular grid: tilted gantry, missing or doubled slices.
    """
    folder = Path(folder)
    paths = sorted(folder.iterdir())
    limits = Limits(len(paths))
    headers = [read_header(path, limits) for path in paths]
    for header in headers:
        _complete(header)
    _check_one_series(headers, folder)
    with named(folder):
        stack = choose_volume(headers)
    headers = [frame.header for frame in stack.frames]
    step = stack.affine[:3, 2]
    gap = round(float(np.linalg.norm(step)), 6)  # a decimal string has 16 characters
    for header in headers:
        header.SpacingBetweenSlices = gap
        header.SliceThickness = header.get("SliceThickness") or gap
    return Series(headers, stack.affine, stack.shape)


def _check_one_series(headers: Sequence[Dataset], folder: Path) -> None:
    if len(headers) < 2:
        raise InputError(f"{folder}: {len(headers)} slices; a volume needs two or more single-frame instances")
    first = headers[0]
    for name in (*_SAME_FOR_ALL, "SOPClassUID", "SOPInstanceUID", "PixelSpacing"):
        if not first.get(name):
            raise InputError(f"{folder}: the slices have no {name}, so nothing can be derived from this series")
    for header in headers:
        differing = [name for name in _SAME_FOR_ALL if header.get(name) != first.get(name)]
        if differing or any(name in header for name in _OF_SEVERAL_FRAMES):
            reason = f"differ in {', '.join(differing)}" if differing else "have several frames each"
            raise InputError(f"{folder}: the instances {reason}; give one series of single-frame slices")


def _complete(header: Dataset) -> None:
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
