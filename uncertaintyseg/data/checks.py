"""What a volume must be, however it was read. No message names a file: `named` puts its name in front."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.grids import axis_angle, rectangular, skew
from uncertaintyseg.data.nifti_geometry import ITK_SKEW
from uncertaintyseg.data.writing import MAX_LABEL
from uncertaintyseg.errors import InputError

_MOST_SKEW = 1e-3  # direction cosines that were written with three digits
_FLAT = 1e-3  # sine-like volume that the unit axes span: 1 when orthogonal, 0 when they lie in a plane


@contextmanager
def named(file: str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of a file in front of an `InputError`."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{file}: {error}") from error


def checked_shape(shape: Collection[int]) -> tuple[int, int, int]:
    """Return the shape of a 3D volume, without axes of length 1 behind it, of an image with one slice.

    Raises:
        InputError: for any other.
    """
    shape = tuple(shape)
    if len(shape) == 2:
        shape = (*shape, 1)
    if 0 in shape:
        raise InputError(f"the volume is empty (shape {by(shape)}). Export the scan again.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(
            f"expected one 3D volume with one channel, found shape {by(shape)}. "
            + ("Give the whole volume." if len(shape) < 3 else "Split it and give one volume.")
        )
    return shape


def checked_affine(affine: np.ndarray) -> np.ndarray:
    """Return a 4x4 affine, its axes made orthogonal where only rounding has skewed them.

    Raises:
        InputError: It gives voxels no place in space, or its grid is not rectangular.
    """
    spacing = np.array(spacing_mm(affine))
    if not (np.isfinite(affine).all() and spacing.min() > 0 and abs(np.linalg.det(affine[:3, :3] / spacing)) > _FLAT):
        raise InputError(
            "its affine is singular or not finite, so voxels have no place in space. "
            "Repair the header (sform and qform) or convert from the original DICOM again."
        )
    if skew(affine) > _MOST_SKEW:
        raise InputError(
            f"its axes stand at {axis_angle(affine):.4g} degrees, and a label or a map on such a grid is shown "
            "elsewhere by other programs: resample the volume to a rectangular grid first."
        )
    return rectangular(affine) if skew(affine) > ITK_SKEW else affine


def check_thickness(shape: Collection[int]) -> None:
    """Raise `InputError` for a scan of one slice."""
    if min(shape) == 1:
        raise InputError(
            f"one slice thick (shape {by(shape)}); these models are 3D. Give the whole volume, "
            "for DICOM the folder of the series."
        )


def check_values(low: float, high: float, unusable: int) -> None:
    """Raise `InputError` for a scan that holds NaN or infinite voxels, or the same in all; by its extremes."""
    if unusable:
        raise InputError(f"{unusable} voxels are NaN or infinite. Replace them, for CT with -1024, and try again.")
    if low == high:
        raise InputError(f"every voxel is {low:g}; nothing can be segmented in a constant image.")


def check_whole(values: np.ndarray) -> None:
    """Raise `InputError` unless all are whole numbers that a label can hold."""
    is_whole = values.dtype.kind != "f" or (np.isfinite(values).all() and (values == np.rint(values)).all())
    if not is_whole or not 0 <= values.min() <= values.max() <= MAX_LABEL:
        raise InputError(f"a label holds whole numbers from 0 to {MAX_LABEL}; is this a scan or a probability map?")


def check_ids(present: Collection[int], known: Collection[int], *, case: str | None = None) -> None:
    """Raise `InputError` for class ids that are not known; 0 always is.

    Args:
        present: in a label.
        known: to who reads it.
        case: of a data set, which a model could be planned from that knows them.
    """
    if unknown := sorted(set(present) - {0, *known}):
        of = f" (case {case})" if case else ""
        way = (
            f", or plan a model that knows it: uncertaintyseg plan with --labels {unknown[0]}=tumour, or "
            f"{unknown[0]}=background to leave it out"
        )
        raise InputError(
            f"unknown class id {', '.join(map(str, unknown))}; known are "
            f"{', '.join(map(str, sorted({0, *known})))}{of}. Relabel the file{way if case else ''}."
        )


def by(values: Collection[float]) -> str:
    """Sizes, for a message."""
    return " x ".join(f"{v:g}" for v in values)
