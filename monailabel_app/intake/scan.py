"""A client's scan becomes a NIfTI file that this server has written, with the same values in the same type."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from monailabel_app.intake.stream import GZIP
from monailabel_app.intake.volume import Volume
from uncertaintyseg.data.checks import by, check_values
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.nifti_notes import note, notes_in
from uncertaintyseg.data.time_axis import is_clip, spacing_known
from uncertaintyseg.errors import InputError

_GZIP_LEVEL = 1  # level 6 is slower and saves less than a tenth
_NOTHING_ELSE = bytes(4)
"""Behind the header of a NIfTI file: no extensions."""


NOTHING_SAID: Mapping[str, Any] = MappingProxyType({})


def write_scan(volume: Volume, folder: Path, stem: str, about: Mapping[str, Any] = NOTHING_SAID) -> Path:
    """Write a scan, packed where the client's was; only a few million voxels are in memory at once.

    Args:
        volume: its voxels are read by this.
        folder: where the file goes.
        stem: its name, without .nii or .nii.gz.
        about: what the client says of it beside what its file notes, see `data.time_axis`.

    Raises:
        InputError: It is damaged or constant, holds voxels that are NaN or infinite, or its spacing, said to be
            unknown, is not 1, or is that of a volume.
    """
    header = volume.header.copy()
    about = {**notes_in(header), **about}
    _check_counted(volume, about)
    note(header, about)
    header["magic"] = b"n+1" if header.sizeof_hdr == 348 else header["magic"]
    header["vox_offset"] = header.sizeof_hdr + len(_NOTHING_ELSE)
    extremes = Extremes(volume.scale)
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=GZIP) if volume.is_packed else None
    pack: Callable[[bytes], bytes] = packer.compress if packer else bytes
    path = folder / f"{stem}{'.nii.gz' if packer else '.nii'}"
    with path.open("xb") as file:
        file.write(pack(header.binaryblock + _NOTHING_ELSE))
        for chunk in volume.chunks:
            extremes.add(chunk)
            file.write(pack(chunk.astype(chunk.dtype.newbyteorder("<"), copy=False)))
        if packer:
            file.write(packer.flush())
    extremes.check()
    return path


def _check_counted(volume: Volume, about: Mapping[str, Any]) -> None:
    """Raise `InputError` where nobody knows mm, but sizes would not be counts of pixels."""
    if spacing_known(about):
        return
    if volume.shape[2] > 1 and not is_clip(about):
        raise InputError("a volume, and an unknown spacing is only of images and of clips: say axis=time of a clip")
    spacing = spacing_mm(volume.affine)[:2]
    if not np.allclose(spacing, 1):
        raise InputError(f"its spacing, {by(spacing)}, is said to be unknown: give 1 for each pixel, or leave that out")


class Extremes:
    """The lowest and the highest voxel, and how many cannot be used. `scale` is slope and intercept, or None."""

    def __init__(self, scale: tuple[float, float] | None) -> None:
        self._scale = scale or (1.0, 0.0)
        self._low, self._high, self._unusable = np.inf, -np.inf, 0

    def add(self, chunk: np.ndarray) -> None:
        """Look at some voxels."""
        if chunk.dtype.kind == "f":
            finite = np.isfinite(chunk)
            if not finite.all():
                self._unusable += chunk.size - int(np.count_nonzero(finite))
                chunk = chunk[finite]
        if chunk.size:
            self._low, self._high = min(self._low, float(chunk.min())), max(self._high, float(chunk.max()))

    def check(self) -> None:
        """Raise `InputError` when this is no scan."""
        slope, intercept = self._scale
        ends = [slope * value + intercept for value in (self._low, self._high)]
        if not self._unusable and max(map(abs, ends)) > np.finfo(np.float32).max:
            raise InputError(f"its voxels run from {min(ends):g} to {max(ends):g}, beyond single precision. Scale them")
        check_values(*ends, self._unusable)
