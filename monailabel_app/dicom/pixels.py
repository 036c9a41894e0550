"""Pixels of DICOM files, one frame at a time: as they are, deflated, RLE, or expanded by `codec` beforehand."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from monailabel_app.dicom.parsing import at_pixels
from uncertaintyseg.errors import InputError

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_ITEM, _DELIMITER = 0xE000FFFE, 0xE0DDFFFE  # as little-endian numbers
_BITS = (8, 16, 32)
_RLE_HEADER = struct.Struct("<16L")
_SLACK = 2**16  # bytes of headers and tables in a compressed frame
_CUT_SHORT = "its pixels are cut short: export it again"


def check_pixels(header: Dataset) -> None:
    """Raise `InputError` unless the pixels are whole numbers of one channel, in a form that `frames` understands."""
    if header.get("SamplesPerPixel", 1) != 1 or header.get("PhotometricInterpretation") != "MONOCHROME2":
        raise InputError(f"{header.get('PhotometricInterpretation')} pixels; give a scan with one channel, MONOCHROME2")
    if "ModalityLUTSequence" in header:
        raise InputError("its values come from a table (Modality LUT Sequence): export it with a rescale slope")
    bits, stored, high = (header.get(name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if bits not in _BITS or not isinstance(stored, int) or not 1 <= stored <= bits or high != stored - 1:
        raise InputError(f"its pixels have {stored} of {bits} bits up to bit {high}, which is not read")
    if not (header.get("Rows") and header.get("Columns")):
        raise InputError("it has no Rows or no Columns")


def syntax_of(header: Dataset) -> UID:
    """Transfer syntax of a file."""
    return UID(header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def needs_codec(header: Dataset) -> bool:
    """Whether the pixels are compressed in another way than RLE."""
    return syntax_of(header) not in (*_NATIVE, RLELossless)


def dtype_of(header: Dataset) -> np.dtype:
    """Of the pixels as stored, in this machine's byte order."""
    return np.dtype(f"{'i' if header.get('PixelRepresentation') else 'u'}{header.BitsAllocated // 8}")


def frame_count(header: Dataset) -> int:
    """Frames that a file says it has."""
    return int(header.get("NumberOfFrames") or 1)


def frame_bytes(header: Dataset) -> int:
    """Of one frame, expanded."""
    return int(header.Rows) * int(header.Columns) * dtype_of(header).itemsize


def frames(header: Dataset, expanded: Path | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a file that `check_pixels` has seen, `[rows, columns]` as stored.

    Args:
        header: of the file.
        expanded: what `codec.expand` made of its pixels, where they needed it.

    Raises:
        InputError: It is damaged; the message has the file's name without its folder.
    """
    dtype, size = dtype_of(header), frame_bytes(header)
    order = "<" if header.is_little_endian or expanded else ">"
    if expanded is not None:
        parts = _read(expanded, size, frame_count(header))
    elif syntax_of(header) == RLELossless:
        parts = (_unpacked(part, size, dtype.itemsize) for part in packed_frames(header))
    else:
        parts = _native(header, size)
    for part in parts:
        pixels = np.frombuffer(part, dtype.newbyteorder(order)).astype(dtype, copy=False)
        yield _stored(pixels, int(header.BitsStored)).reshape(int(header.Rows), int(header.Columns))


def packed_frames(header: Dataset) -> Iterator[bytes]:
    """Yield the frames of a compressed file as they are. Raises as `frames`."""
    with at_pixels(header) as file:
        if _length(file, header) != _UNDEFINED:
            raise InputError("its pixels are not packed in frames, as its transfer syntax says: export it again")
        count = frame_count(header)
        _item(file, 4 * count)  # the table of offsets
        most = frame_bytes(header) * 5 // 4 + _SLACK
        if count == 1:
            frame = bytearray()
            while (part := _item(file, most - len(frame))) is not None:
                frame += part
            yield bytes(frame)
            return
        for _ in range(count):
            yield _item(file, most) or b""
        if _item(file, most) is not None:
            raise InputError("its frames are not packed one by one: export it again without compression")


def _native(header: Dataset, size: int) -> Iterator[bytes]:
    with at_pixels(header) as file:
        whole = size * frame_count(header)
        if not whole <= _length(file, header) <= whole + 1:
            raise InputError("its header promises other pixels than it holds: export it again")
        for _ in range(frame_count(header)):
            yield _exactly(file, size)


def _read(path: Path, size: int, count: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for _ in range(count):
            yield _exactly(file, size)


def _length(file: BinaryIO, header: Dataset) -> int:
    """Read the element with the pixels up to its value, and return how many bytes that has."""
    order = "<" if header.is_little_endian else ">"
    group, element, kind, length = struct.unpack(f"{order}HH2sH", _exactly(file, 8))
    if group << 16 | element != _PIXEL_DATA:
        raise InputError("it holds no pixels of whole numbers (PixelData)")
    if header.is_implicit_VR:
        return length << 16 | int.from_bytes(kind, "little")
    if kind not in (b"OW", b"OB"):
        raise InputError("its pixels are of an unknown kind: export it again")
    return struct.unpack(f"{order}L", _exactly(file, 4))[0]


def _item(file: BinaryIO, most: int) -> bytes | None:
    """The next fragment, None at the end."""
    tag, length = struct.unpack("<LL", _exactly(file, 8))
    if tag == _DELIMITER:
        return None
    if tag != _ITEM or length > most:
        raise InputError("its frames are not packed one by one: export it again without compression")
    return _exactly(file, length)


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise InputError(_CUT_SHORT)
    return found


def _unpacked(frame: bytes, size: int, width: int) -> bytes:
    """One frame of RLE (DICOM PS3.5 annex G): a segment for each byte of a pixel, the highest first; little endian."""
    starts = _RLE_HEADER.unpack(frame[: _RLE_HEADER.size].ljust(_RLE_HEADER.size, b"\0"))
    if starts[0] != width:
        raise InputError(f"its RLE has {starts[0]} segments for pixels of {width} bytes: export it again")
    bounds = [*starts[1 : width + 1], len(frame)]
    found = bytearray(size)
    for byte, (start, stop) in enumerate(itertools.pairwise(bounds)):
        found[width - 1 - byte :: width] = _runs(frame[start:stop], size // width)
    return bytes(found)


def _runs(packed: bytes, size: int) -> bytes:
    """Expand the runs of one segment, not a byte beyond `size`."""
    found, place = bytearray(), 0
    while len(found) < size and place < len(packed):
        head = packed[place]
        if head < 128:  # that many and one more bytes as they are
            found += packed[place + 1 : place + 2 + head]
            place += 2 + head
        else:  # 257 - head times the next byte; 128 does nothing
            if head > 128:
                found += packed[place + 1 : place + 2] * (257 - head)
            place += 2 if head > 128 else 1
    if len(found) < size:
        raise InputError(_CUT_SHORT)
    return bytes(found[:size])


def _stored(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Without what overlays of old left in the bits that are not the pixel's."""
    spare = 8 * pixels.dtype.itemsize - bits
    return pixels << spare >> spare if spare else pixels
