"""Headers of DICOM files that somebody else made, read by pydicom within limits of size, number and depth."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from uncertaintyseg.errors import InputError

_PREAMBLE = 132
_FILE_META_GROUP = 2
_FIRST_OF_PIXELS = 0x7FE00008
"""Nothing that counts comes behind pixels of whatever kind."""
_RAW_DEFLATE = -zlib.MAX_WBITS
_DEFLATED_BYTES = 2**27
"""Of a deflated file, packed or expanded."""

_READS, _READS_A_FILE = 2**19, 600
"""Of pydicom, which reads two or three times for an element; a header with a thousand frames has 50 000 of them."""
_BYTES, _BYTES_A_FILE = 2**26, 2**16


class Limits:
    """What the headers of one series may take together.

    Args:
        files: of the series.
    """

    def __init__(self, files: int = 1) -> None:
        self._reads = _READS + files * _READS_A_FILE
        self._bytes = _BYTES + files * _BYTES_A_FILE

    def take(self, size: int) -> None:
        """Count one read. Raises `InputError` when it is too much."""
        self._reads -= 1
        self._bytes -= size
        if self._reads < 0 or self._bytes < 0:
            raise InputError("the headers of the series are larger than any, or damaged: export it again")


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE)[-4:] == b"DICM"


def read_header(path: Path, limits: Limits | None = None) -> Dataset:
    """Read a file up to its pixels.

    Args:
        path: of the file.
        limits: of the series that it belongs to.

    Returns:
        Every element before the pixels; `file_meta`; `filename`; and `pixels_at`, where their element begins.

    Raises:
        InputError: It is no DICOM file, or beyond the limits; the message has the file's name without its folder.
    """
    with path.open("rb") as file, understood(path.name):
        if file.read(_PREAMBLE)[-4:] != b"DICM":
            raise InputError("not a DICOM file; several files are the DICOM slices of one series")
        limited = _Limited(file, limits or Limits())
        meta = read_dataset(limited, False, True, stop_when=lambda tag, *_: tag.group != _FILE_META_GROUP)
        syntax = meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
        begin = file.tell()
        if syntax == DeflatedExplicitVRLittleEndian:
            limited = _Limited(_inflated(file), limits or Limits())
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        header = read_dataset(limited, implicit, little, stop_when=_is_pixels)
        header.file_meta, header.filename = FileMetaDataset(meta), str(path)
        header.is_implicit_VR, header.is_little_endian = implicit, little
        header.begins_at, header.pixels_at = begin, limited.tell()
        return header


@contextmanager
def at_pixels(header: Dataset) -> Iterator[BinaryIO]:
    """The file of a header, expanded where it is deflated, at the element with the pixels."""
    path = Path(header.filename)
    with path.open("rb") as file, understood(path.name):
        if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            file.seek(header.begins_at)
            file = _inflated(file)  # noqa: PLW2901 - the same bytes
        file.seek(header.pixels_at)
        yield file


@contextmanager
def understood(name: str, *, is_named: bool = False) -> Iterator[None]:
    """Turn whatever a damaged file leads to into an `InputError` with a name, unless the error `is_named` already."""
    try:
        yield
    except InputError as error:
        if is_named:
            raise
        raise type(error)(f"{name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # pydicom lets through what it meets: struct.error, RecursionError, KeyError, ...
        raise InputError(f"{name}: cannot be read as DICOM ({type(error).__name__}): export it again") from error


def _is_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >= _FIRST_OF_PIXELS


def _inflated(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    found = inflater.decompress(file.read(_DEFLATED_BYTES), _DEFLATED_BYTES)
    if not inflater.eof:
        raise InputError(f"cut short, or more than {_DEFLATED_BYTES // 2**20} MB: store it without deflating it")
    return io.BytesIO(found)


class _Limited:
    """What pydicom reads from: it asks for as many bytes as a header says that there are."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self._limits.take(size)
        return self._file.read(size)
