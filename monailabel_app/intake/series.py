"""The DICOM slices of one series become a volume, without GDCM and without a codec."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from monailabel_app.dicom.codec import check_codec, expand
from monailabel_app.dicom.parsing import read_header, understood
from monailabel_app.dicom.pixels import check_pixels, dtype_of, frames, needs_codec
from monailabel_app.dicom.series import read_series
from monailabel_app.errors import TooLargeError
from monailabel_app.intake.opening import DECODE_FIRST, MAX_VOXELS
from monailabel_app.intake.volume import Volume, new_header
from uncertaintyseg.data.checks import by, checked_affine
from uncertaintyseg.data.ultrasound import is_flat
from uncertaintyseg.errors import InputError


def open_series(folder: Path) -> Volume:
    """The slices in a folder as a volume whose voxels are `[column, row, slice]`.

    Where one rescale slope and intercept hold for all slices the voxels stay as they are stored, else they become
    float32.

    Raises:
        InputError: They are no regular grid of one series (see `read_series`), or compressed; the message has the
            files' names without their folder.
        TooLargeError: They have more than `MAX_VOXELS`.
    """
    first = min(folder.iterdir())
    with understood(first.name, is_named=True):
        if is_flat([read_header(first)]):
            raise InputError(f"{first.name}: {DECODE_FIRST}")
    with understood(str(folder), is_named=True):
        series = read_series(folder)
    if math.prod(series.shape) > MAX_VOXELS:
        raise TooLargeError(f"{by(series.shape)} voxels, more than the {MAX_VOXELS:,} of an upload. Crop the series")
    affine, scales = checked_affine(series.affine), []
    for header in series.headers:
        with understood(Path(header.filename).name):
            check_pixels(header)
            if needs_codec(header):
                check_codec(header)
            scales.append(_scale(header))
    kinds = {dtype_of(header) for header in series.headers}
    is_uniform = len(kinds) == 1 and len(set(scales)) == 1 and _fits_a_header(scales[0])
    header = new_header(series.shape, kinds.pop() if is_uniform else np.dtype(np.float32), affine)
    if is_uniform:
        header["scl_slope"], header["scl_inter"] = scales[0]
    return Volume(header, affine, _voxels(series.headers, None if is_uniform else scales), is_packed=True)


def _scale(header: Dataset) -> tuple[float, float]:
    slope, intercept = (
        float(default if header.get(name) is None else header.get(name))
        for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise InputError(f"it scales pixels by {slope:g} and {intercept:g}: export it again")
    return slope, intercept


def _fits_a_header(scale: tuple[float, float]) -> bool:
    """Whether NIfTI, which has single precision, keeps slope and intercept as they are."""
    return all(float(np.float32(value)) == value for value in scale)


def _voxels(headers: Sequence[Dataset], scales: Sequence[tuple[float, float]] | None) -> Iterator[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        packed = [header for header in headers if needs_codec(header)]
        expanded = expand(packed, Path(folder)) if packed else {}
        for number, header in enumerate(headers):
            for frame in frames(header, expanded.get(header.filename)):
                flat = frame.ravel()
                if scales is not None:
                    slope, intercept = scales[number]
                    flat = (flat * slope + intercept).astype(np.float32)
                yield flat
