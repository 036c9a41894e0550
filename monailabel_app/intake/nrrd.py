"""NRRD in one file (.nrrd) as a stream: its header is read by `uncertaintyseg.data.nrrd`."""

from __future__ import annotations

from typing import BinaryIO

from monailabel_app.intake.stream import GZIP, Stream
from monailabel_app.intake.volume import Volume, new_header, voxels
from uncertaintyseg.data.checks import checked_affine, checked_shape
from uncertaintyseg.data.nrrd import NrrdHeader, read_nrrd_header
from uncertaintyseg.errors import InputError


def open_nrrd(file: BinaryIO) -> Volume:
    """Read the header and be ready for the voxels. Raises `InputError` for whatever is no such file."""
    header = read_nrrd_header(file)
    if len(header.shape) > 3 and header.shape[0] > 1:
        raise InputError(f"{header.shape[0]} layers or channels; give one volume with one channel")
    shape, affine = checked_shape(header.shape[-3:]), checked_affine(header.affine)
    chunks = voxels(stream_of(file, header), shape, header.dtype)
    ours = new_header(shape, header.dtype.newbyteorder("="), affine)
    return Volume(ours, affine, chunks, is_packed=True)  # a plain file is kept packed too


def stream_of(file: BinaryIO, header: NrrdHeader) -> Stream:
    """The voxels of a file whose header has been read: one gzip stream, or bytes as they are."""
    return Stream(file, "NRRD", GZIP if header.is_packed else None, members=1)
