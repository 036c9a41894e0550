"""What a reader of this room makes of a client's file: a header of our own writing, and its voxels bit by bit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from monailabel_app.intake.stream import Stream
from uncertaintyseg.data.checks import by
from uncertaintyseg.data.nifti_geometry import nifti_affine
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.errors import InputError

Header = nib.Nifti1Header | nib.Nifti2Header
_CHUNK_VOXELS = 2**21
_MOST_ALONG_AXIS = np.iinfo(np.int16).max
"""What the first version of NIfTI can say."""
_PLACE_TOLERANCE = 0.05  # voxels, as for labels on the grid of a scan


@dataclass(frozen=True)
class Volume:
    """One volume.

    Attributes:
        header: of the NIfTI file that this server would write: shape, type, scale and geometry are the client's, and
            nothing else is.
        affine: float64 4x4, voxel to RAS+ mm.
        chunks: its voxels as stored, 1-D in Fortran order, in the header's type. They are read once; the iterator ends
            only after it has seen that the file does.
        is_packed: whether the client's file was compressed.
        segments: what it says that its numbers are; empty where it has no names.
    """

    header: Header
    affine: np.ndarray
    chunks: Iterator[np.ndarray]
    is_packed: bool
    segments: Sequence[Segment] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.get_data_shape()

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept, None where the voxels mean what is stored."""
        slope, intercept = float(self.header["scl_slope"]), float(self.header["scl_inter"])
        return None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def new_header(shape: tuple[int, ...], dtype: np.dtype, affine: ArrayLike) -> nib.Nifti1Header:
    """Header of a NIfTI file as `write_volume` makes it, with any type of voxel that has no scale.

    Raises:
        InputError: NIfTI cannot say where the voxels are, or that there are so many along an axis.
    """
    affine = np.asarray(affine, dtype=np.float64)
    if max(shape) > _MOST_ALONG_AXIS:
        raise InputError(f"{by(shape)} voxels, more than {_MOST_ALONG_AXIS} along an axis: crop the volume")
    if not np.abs(affine).max() <= np.finfo(np.float32).max:
        raise InputError(f"its spacing or origin, up to {np.abs(affine).max():g} mm, is no place: repair the header")
    image = nib.Nifti1Image(np.broadcast_to(dtype.type(0), shape), affine, dtype=dtype)
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["scl_slope"], image.header["scl_inter"] = 1, 0
    ends = [(0, size - 1) for size in shape]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64).T
    off = np.abs(np.linalg.solve(affine, (nifti_affine(image.header) - affine) @ corners)).max()
    if not off <= _PLACE_TOLERANCE:
        raise InputError(f"its origin is so far off that single precision moves it by {off:.2g} voxels: repair it")
    return image.header


def voxels(stream: Stream, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the voxels of a stream in this machine's byte order. Raises `InputError` unless it holds exactly these."""
    left = math.prod(shape)
    while left:
        count = min(left, _CHUNK_VOXELS)
        yield np.frombuffer(stream.read(count * dtype.itemsize), dtype).astype(dtype.newbyteorder("="), copy=False)
        left -= count
    stream.end()
