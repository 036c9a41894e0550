"""Headers of DICOM files that somebody else made, read by pydicom within limits of size, number and depth."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from uncertaintyseg.errors import InputError

_PREAMBLE = 132
_FILE_META_GROUP = 2
_TAG_BYTES = 8
_FIRST_OF_PIXELS = 0x7FE00008
"""Nothing that counts comes behind pixels of whatever kind."""
_RAW_DEFLATE = -zlib.MAX_WBITS
_DEFLATED_BYTES = 2**27
"""Of a deflated file, packed or expanded."""
_EXPANDED = 2**31
"""Bytes of all deflated files of a series: twice the pixels that a volume may have, of two bytes each."""

_BULK = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "LT", "ST", "UT", "UC", "UR"])
"""Values that nobody here reads, or that stay as they are."""
_BINARY = frozenset(["US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"])
_VALUE_BYTES = 2**12
_VALUES, _VALUES_A_FILE = 2**16, 2**9
"""Each becomes an object of its own when it is looked at, and takes a hundred times its bytes."""

_READS, _READS_A_FILE = 2**19, 600
"""Of pydicom, which reads two or three times for an element; a header with a thousand frames has 50 000 of them."""
_BYTES, _BYTES_A_FILE = 2**26, 2**16
_TOO_LARGE = "the headers of the series are larger than any, or damaged: export it again"


class Limits:
    """What the headers of one series may take together.

    Args:
        files: of the series.
    """

    def __init__(self, files: int = 1) -> None:
        self._reads = _READS + files * _READS_A_FILE
        self._bytes = _BYTES + files * _BYTES_A_FILE
        self._values = _VALUES + files * _VALUES_A_FILE
        self._expanded = _EXPANDED

    def take(self, size: int) -> None:
        """Count one read. Raises `InputError` when it is too much."""
        self._reads -= 1
        self._bytes -= size
        if self._reads < 0 or self._bytes < 0:
            raise InputError(_TOO_LARGE)

    def take_values(self, count: int) -> None:
        """Count values of one element. Raises `InputError` when they are too many."""
        self._values -= count
        if self._values < 0:
            raise InputError(_TOO_LARGE)

    def take_expanded(self, size: int) -> None:
        """Count the bytes of one deflated file. Raises `InputError` when they are too many."""
        self._expanded -= size
        if self._expanded < 0:
            raise InputError(f"the series is deflated and takes more than {_EXPANDED:,} bytes: store it without that")


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
        limits = limits or Limits()
        limited = _Limited(file, limits)
        meta = read_dataset(limited, False, True, stop_when=lambda tag, *_: tag.group != _FILE_META_GROUP)
        _check_values(meta, limits)
        syntax = meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
        begin = file.tell()
        if syntax == DeflatedExplicitVRLittleEndian:
            expanded = _inflated(file)
            limits.take_expanded(expanded.getbuffer().nbytes)
            limited = _Limited(expanded, limits)
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        header = read_dataset(limited, implicit, little, stop_when=_is_pixels)
        _check_values(header, limits)
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


def _check_values(dataset: Dataset, limits: Limits) -> None:
    """Refuse elements that would grow when they are looked at: pydicom turns bytes into values only then."""
    for element in dataset.values():
        if not (isinstance(element, RawDataElement) and element.value and dictionary_has_tag(element.tag)):
            continue
        kinds = set(dictionary_VR(element.tag).split(" or "))  # whatever the file says that it is
        if kinds & _BULK:
            continue
        size = len(element.value)
        if size > _VALUE_BYTES:
            raise InputError(f"its {dictionary_keyword(element.tag)} has {size} bytes, more than any: export it again")
        limits.take_values(size // 2 if kinds & _BINARY else element.value.count(b"\\") + 1)


def _inflated(file: BinaryIO) -> io.BytesIO:
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
        found = self._file.read(size)
        if len(found) < size and (found or size != _TAG_BYTES):  # where an element could begin the file may end
            raise InputError("cut short: copy or export it again")
        return found
