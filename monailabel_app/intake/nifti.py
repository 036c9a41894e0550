"""NIfTI in one file, first or second version, either byte order; only what this server understands, and all of it."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from nibabel import Nifti1Header, Nifti2Header

from monailabel_app.intake.stream import GZIP, Stream
from monailabel_app.intake.volume import Header, Volume, voxels
from uncertaintyseg.data.checks import checked_affine, checked_shape
from uncertaintyseg.data.nifti_geometry import nifti_affine
from uncertaintyseg.data.nifti_notes import note, notes_in
from uncertaintyseg.data.segments import segments_in_table
from uncertaintyseg.errors import InputError

_VERSIONS = {348: (Nifti1Header, 344, b"n+1\0"), 540: (Nifti2Header, 4, b"n+2\0\r\n\x1a\n")}
"""By the size of the header: its class, and where it says which version this is."""
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""Of voxels with one channel, by their NIfTI code."""
_GEOMETRY = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
    "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
_MAX_OFFSET = 2**20  # bytes of extensions before the voxels
_FLAG_BYTES = 4  # that say whether there are extensions


def open_nifti(file: BinaryIO, *, is_packed: bool) -> Volume:
    """Read the header and be ready for the voxels. Raises `InputError` for whatever is no such file."""
    stream = Stream(file, "NIfTI", GZIP if is_packed else None)
    theirs, size = _header(stream)
    shape, dtype = checked_shape(_shape(theirs)), _dtype(theirs)
    ours = type(theirs)(endianness="<")
    ours.set_data_shape(shape)
    ours.set_data_dtype(dtype.newbyteorder("="))
    for name in _GEOMETRY:
        ours[name] = theirs[name]
    ours["scl_slope"], ours["scl_inter"] = _scale(theirs)
    note(ours, notes_in(theirs))
    offset = float(theirs["vox_offset"])
    if not size + _FLAG_BYTES <= offset <= _MAX_OFFSET or not offset.is_integer():
        raise InputError(f"its header puts {offset:g} bytes before the voxels. Export the scan again")
    named = segments_in_table(stream.read(int(offset) - size).decode(errors="replace"))
    return Volume(ours, checked_affine(nifti_affine(ours)), voxels(stream, shape, dtype), is_packed, named)


def _header(stream: Stream) -> tuple[Header, int]:
    start = stream.read(4)
    for size, (kind, at, magic) in _VERSIONS.items():
        for order, endian in (("little", "<"), ("big", ">")):
            if int.from_bytes(start, order) == size:
                block = bytes(start + stream.read(size - len(start)))
                if not block.startswith(magic, at):
                    raise InputError("not NIfTI in one file: give .nii or .nii.gz with header and voxels")
                return kind(block, endian, check=False), size
    raise stream.error("it does not begin like one")


def _shape(header: Header) -> tuple[int, ...]:
    dim = [int(value) for value in header["dim"]]
    if not 1 <= dim[0] <= len(dim) - 1 or any(value < 0 for value in dim[1 : dim[0] + 1]):
        raise InputError(f"its header says dim {dim}, which is no shape: export it again")
    return tuple(dim[1 : dim[0] + 1])


def _dtype(header: Header) -> np.dtype:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _TYPES:
        raise InputError(f"colour, complex or unknown voxels (NIfTI type {code}); give a scan with one channel")
    dtype = np.dtype(header.endianness + _TYPES[code])
    if bits != 8 * dtype.itemsize:
        raise InputError(f"its header says {bits} bits for voxels of {8 * dtype.itemsize}: export it again")
    return dtype


def _scale(header: Header) -> tuple[float, float]:
    """Slope and intercept; without a slope (0, and NaN, which some programs write) nothing is scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise InputError(f"its header scales voxels by {slope:g} and {intercept:g}: export it again")
    return slope, intercept
