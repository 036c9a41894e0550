"""Writing volumes, maps and other files: whole or not at all.

Geometry is RAS+.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import uuid
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from uncertaintyseg.data.nifti_notes import note
from uncertaintyseg.errors import InputError, StorageError

if TYPE_CHECKING:
    import torch

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_LABEL = int(np.iinfo(np.uint16).max)
"""Largest class id of a label."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DATA_OFFSET = 352
"""Where the voxels of a NIfTI file begin: behind its header and four bytes that say that nothing else is there."""
_GZIP_WINDOW = 31
"""What zlib calls a gzip stream with the largest window; its time stamp is 0."""
_CARET, _LONGEST_NAME = 0, 500
"""Number of the NIfTI extension that holds a Caret table, as TotalSegmentator has it, and letters of a name in it."""
_PLANES_BYTES = 2**25
"""Of a map as float32, encoded at once."""
_GZIP_LEVEL = 1  # level 6 is slower and saves less than a tenth on maps


def write_volume(
    path: str | os.PathLike[str],
    array: ArrayLike | torch.Tensor,
    affine: ArrayLike,
    *,
    names: Mapping[int, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a NIfTI file atomically: readers see the old file or the whole new one, never a part.

    Args:
        path: Ends in .nii or .nii.gz; missing folders are made.
        array: `[X, Y, Z]`. Integers and booleans are stored as uint8 or uint16, floats as float32.
        affine: 4x4, voxel to RAS+ mm.
        about: `meta` of a scan: that it is a clip, or of unknown spacing, is noted in the file.
        names: What the numbers of a label are, written into it as TotalSegmentator does (a Caret label table):
            whoever reads it goes by them (`segments.segments_in`), not by numbers that may mean something else there.
            None are written where one of them has a "]" or more than 500 letters, which such a table cannot hold.

    Raises:
        InputError: The file cannot be written there, or an integer lies outside 0 to 65535.
    """
    path = Path(path)
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        raise InputError(f"{path}: volumes are written as NIfTI; end the name in .nii.gz")
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.size and not 0 <= array.min() <= array.max() <= MAX_LABEL:
        raise InputError(f"{path}: labels must lie between 0 and {MAX_LABEL}, not {array.min()} to {array.max()}")
    else:
        array = array.astype(np.uint8 if not array.size or array.max() <= np.iinfo(np.uint8).max else np.uint16)
    image = _nifti(array, affine)
    note(image.header, about or {})
    if names and not any("]" in name or len(name) > _LONGEST_NAME for name in names.values()):
        image.header.extensions.append(nib.nifti1.Nifti1Extension(_CARET, _label_table(names)))
    data = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    write_bytes(path, data)


def encode_map(
    array: ArrayLike | torch.Tensor, affine: ArrayLike, value_range: tuple[float, float], *, upward: bool = False
) -> bytes:
    """Encode a map as gzipped NIfTI: uint16 with `scl_slope` and `scl_inter`, so any viewer reads floats.

    The error is below 1e-5 of the range; where the range starts at 0, zeros stay exactly 0. Same map, same bytes. Only
    some planes are in memory at once, and of anything that reads parts with slices only these.

    Args:
        array: `[X, Y, Z]`.
        affine: 4x4, voxel to RAS+ mm.
        value_range: Smallest and largest value the measure can take.
        upward: No stored value is below its own: for risks that are held against thresholds.

    Raises:
        InputError: A voxel is NaN or lies outside the range by more than rounding.
    """
    _, slope, low = map_steps(np.zeros(0), value_range, upward=upward)

    def planes(part: slice) -> np.ndarray:
        return map_steps(array[:, :, part], value_range, upward=upward)[0]

    return _packed(planes, array.shape, affine, slope, low)


def encode_steps(steps: np.ndarray, affine: ArrayLike, slope: float, intercept: float) -> bytes:
    """Encode what `map_steps` made, as `encode_map` does.

    Args:
        steps: uint16 `[X, Y, Z]`, an array or what gives one for some planes.
        affine: 4x4, voxel to RAS+ mm.
        slope: of a step.
        intercept: value of step 0.
    """
    return _packed(lambda part: steps[:, :, part], steps.shape, affine, slope, intercept)


def _packed(
    planes: Callable[[slice], np.ndarray], shape: Collection[int], affine: ArrayLike, slope: float, intercept: float
) -> bytes:
    """A gzipped NIfTI file of steps `[X, Y, Z]`, of which some planes are made at a time."""
    header = _nifti(np.broadcast_to(np.uint16(0), tuple(shape)), affine).header
    header.set_slope_inter(slope, intercept)
    header["magic"], header["vox_offset"] = b"n+1", _DATA_OFFSET
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
    width, height, length = shape
    depth = max(1, _PLANES_BYTES // max(1, 4 * width * height))
    slabs = (planes(slice(start, start + depth)) for start in range(0, length, depth))
    parts = [packer.compress(header.binaryblock.ljust(_DATA_OFFSET, b"\0"))]
    parts += [packer.compress(slab.tobytes(order="F")) for slab in slabs]
    return b"".join([*parts, packer.flush()])


def map_steps(
    array: ArrayLike | torch.Tensor, value_range: tuple[float, float], *, upward: bool = False
) -> tuple[np.ndarray, float, float]:
    """Return a map as uint16 steps with slope and intercept: `value = slope * step + intercept`.

    Args:
        array: Of any shape.
        value_range: Smallest and largest value the measure can take.
        upward: Round up, so that no step stands for less than the value, in single precision.

    Raises:
        InputError: A voxel is NaN or lies outside the range by more than rounding.
    """
    values = np.asarray(array, dtype=np.float32)
    low, high = (float(v) for v in value_range)
    if not np.isfinite(values).all():
        raise InputError(
            "the map holds NaN or infinite voxels: check the model's weights and the scan it was made from"
        )
    slack = 1e-4 * (high - low) + float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if values.size and not low - slack <= values.min() <= values.max() <= high + slack:
        raise InputError(
            f"the map runs from {values.min():g} to {values.max():g}, outside its range {low:g} to {high:g}"
        )
    slope = (high - low) / MAX_LABEL if high > low else 1.0
    if upward:  # NIfTI keeps the slope in single precision, which may round it down
        slope = float(np.nextafter(np.float32(slope), np.float32(np.inf)))
    steps = np.clip(np.rint((values - low) / slope), 0, MAX_LABEL).astype(np.uint16)
    if upward:  # in single precision, as values are read: what was stored once is stored as the same step again
        said = steps.astype(np.float32) * np.float32(slope) + np.float32(low)
        steps += (said < values) & (steps < MAX_LABEL)
    return steps, slope, low


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, making missing folders; once it returns, a power cut does not undo it.

    Raises:
        InputError: The file cannot be written there.
        StorageError: The disk or the quota is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageError(f"{path}: the disk is full, so nothing was changed. Make room and try again.") from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose a folder with space that you may write to."
        ) from error


def check_file(path: Path | None, flag: str) -> None:
    """Before long work: whether a file may be written there; None: there is none.

    Args:
        path: of the file.
        flag: by which it was given, for the message.

    Raises:
        InputError: it is a folder, or lies in none that may be written to.
    """
    if path is not None:
        check_folder(path.parent, flag)
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give {flag} the file to write.")


def check_folder(folder: Path, flag: str) -> None:
    """Raise `InputError` for a folder that neither is there nor can be made, or that may not be written to."""
    try:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    except OSError as error:  # a name that is too long
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another {flag}.") from error
    if not there.is_dir():
        raise InputError(f"{folder}: cannot be written, for {there} is a file; choose another {flag}.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written (no permission for {there}); choose another {flag}.")


def sync_folder(folder: Path) -> None:
    """Make the disk keep the names in a folder, where the system can be asked to (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _label_table(names: Mapping[int, str]) -> bytes:
    """XML of numbers and names."""
    rows = (
        f'<Label Key="{number}" Red="1" Green="1" Blue="1" Alpha="1"><![CDATA[{name}]]></Label>'
        for number, name in names.items()
    )
    table = f"<LabelTable>{''.join(rows)}</LabelTable>"
    inner = f'<VolumeInformation Index="0">{table}<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation>'
    return f'<?xml version="1.0" encoding="UTF-8"?><CaretExtension>{inner}</CaretExtension>'.encode()


def _nifti(array: np.ndarray, affine: ArrayLike) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=np.float64))
    # both forms, as scanner coordinates: nibabel alone leaves the qform unset, which some readers prefer
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return image
