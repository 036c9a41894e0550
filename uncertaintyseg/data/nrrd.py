"""NRRD without a native parser: what 3D Slicer and ITK write, `.seg.nrrd` with its layers too, and nothing beside it.

The format (https://teem.sourceforge.net/nrrd/format.html) can name other files as its voxels, skip bytes and spell one
field in several ways. A reader that takes only what it knows, each once and spelled one way, cannot be led astray.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from uncertaintyseg.errors import InputError

_TYPES = {
    name: np.dtype(code)
    for code, names in {
        "i1": "signed char,int8,int8_t",
        "u1": "uchar,unsigned char,uint8,uint8_t",
        "i2": "short,short int,signed short,signed short int,int16,int16_t",
        "u2": "ushort,unsigned short,unsigned short int,uint16,uint16_t",
        "i4": "int,signed int,int32,int32_t",
        "u4": "uint,unsigned int,uint32,uint32_t",
        "i8": "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t",
        "u8": "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(",")
}
_TO_RAS = {
    name: sign
    for sign, names in {
        (1, 1, 1): "right-anterior-superior,ras",
        (-1, 1, 1): "left-anterior-superior,las",
        (-1, -1, 1): "left-posterior-superior,lps",
    }.items()
    for name in names.split(",")
}
_ENCODINGS = ("raw", "gzip", "gz")
_ENDIAN = {"little": "<", "big": ">"}
_NEEDED = ("type", "dimension", "space", "sizes", "space directions", "space origin", "encoding")
_FIELDS = (
    *_NEEDED, "kinds", "endian", "space units", "measurement frame", "content", "centers", "centerings", "labels",
    "units",
)  # fmt: skip
_NO_PAIRS = {
    *_FIELDS, "data file", "datafile", "byte skip", "byteskip", "line skip", "lineskip", "space dimension",
    "block size", "blocksize", "spacings",
}  # fmt: skip
"""What no `key:=value` pair is called: a field, in another spelling."""
_LAYER_KINDS = ("list", "vector")  # Slicer's name for layers of segments, and ITK's for the same axis
_MOST_VALUES = 2**40
_HEADER_BYTES = 2**20  # a segment of Slicer takes some 600 bytes
_CHUNK_BYTES = 2**16
_PART_BYTES = 2**20
_GZIP = 31
"""What zlib calls a gzip stream with any window."""
_DEFLATE_LIMIT = 1032  # times smaller than its content is the most that deflate can make anything
_FLAT = 1e-3
_NUMBER = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?"
_VECTOR = re.compile(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)", re.ASCII)
_VECTOR_LETTERS = 1000
"""Of all vectors of a field."""
_SIZE = re.compile(r"[1-9][0-9]{0,9}")


class Nrrd(NamedTuple):
    """One NRRD file.

    Attributes:
        array: `[X, Y, Z]`, or `[L, X, Y, Z]` with layers, in the type of the file and this machine's byte order.
        affine: float64 4x4, voxel to RAS+ mm.
        fields: its `key:=value` pairs.
    """

    array: np.ndarray
    affine: np.ndarray
    fields: dict[str, str]


class NrrdHeader(NamedTuple):
    """What a NRRD file says before its voxels.

    Attributes:
        shape: `[X, Y, Z]`, or `[L, X, Y, Z]` with layers; the first axis is the fastest in the file.
        dtype: of the voxels, in the file's byte order.
        affine: float64 4x4, voxel to RAS+ mm.
        is_packed: whether the voxels are one gzip stream.
        fields: its `key:=value` pairs.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    affine: np.ndarray
    is_packed: bool
    fields: dict[str, str]


def read_nrrd(path: Path, *, max_voxels: int | None = None) -> Nrrd:
    """Read one volume, or layers of one, from a file that holds header and voxels.

    Takes raw and gzip encoding, the spaces LPS, RAS and LAS, and only fields that say what is needed, each once. No
    more memory than the header promises is used, and no more is promised than the file can hold.

    Args:
        path: of the file.
        max_voxels: that it may have, those of all layers together.

    Raises:
        InputError: The file is missing, or no such NRRD file.
    """
    with _opened(path) as file:
        return _read(file, max_voxels)


def read_pairs(path: Path) -> dict[str, str]:
    """The `key:=value` pairs of a header, which is read as `read_nrrd` does, and nothing behind it."""
    with _opened(path) as file:
        return _header(file)[1]


def read_nrrd_header(file: BinaryIO) -> NrrdHeader:
    """Read the header as `read_nrrd` does; the file is then at its voxels. Raises `InputError`, which names no file."""
    header, pairs = _header(file)
    if missing := [name for name in _NEEDED if name not in header]:
        raise InputError(f"its NRRD header has no '{missing[0]}'. Export it again, from Slicer or with ITK.")
    shape = tuple(_sizes(header))
    is_packed = _known(header, "encoding", _ENCODINGS) != "raw"
    return NrrdHeader(shape, _dtype(header), _affine(header, len(shape)), is_packed, pairs)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file; errors meanwhile name it."""
    try:
        with path.open("rb") as file:
            yield file
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path.") from error


def _read(file: BinaryIO, max_voxels: int | None) -> Nrrd:
    header = read_nrrd_header(file)
    count = math.prod(header.shape)
    if count > (_MOST_VALUES if max_voxels is None else max_voxels):
        raise InputError(f"{' x '.join(map(str, header.shape))} voxels are more than can be taken here. Crop it.")
    flat = (_gzip if header.is_packed else _raw)(file, count, header.dtype)
    array = flat.reshape(header.shape, order="F")
    return Nrrd(array.astype(header.dtype.newbyteorder("="), copy=False), header.affine, header.fields)


def _header(file: BinaryIO) -> tuple[dict[str, str], dict[str, str]]:
    """Fields by their names in small letters, and `key:=value` pairs; the file is then at its voxels."""
    if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(16)):
        raise InputError("not a NRRD file. Export it again, as NIfTI or NRRD.")
    header: dict[str, str] = {}
    pairs: dict[str, str] = {}
    left = _HEADER_BYTES
    while line := _line(file, left):
        left -= len(line) + 1
        if line.startswith("#"):
            continue
        name, separator, value = re.fullmatch(r"(.*?)(:=|: |$)(.*)", line, re.DOTALL).groups()
        if separator == ":=":
            name, value, found = _unescaped(name), _unescaped(value), pairs
        else:
            name, value, found = name.lower(), value.strip(" "), header
        if not separator or (name.strip().lower() in _NO_PAIRS if found is pairs else name not in _FIELDS):
            raise InputError(
                f"its NRRD header says {line[:60]!r}, which is not read: only header and voxels in one file, and of "
                f"its fields {', '.join(_FIELDS)}. Export it again, from Slicer or with ITK."
            )
        if name in found:
            raise InputError(f"its NRRD header says '{name[:60]}' twice. Export it again, from Slicer or with ITK.")
        found[name] = value
    return header, pairs


def _line(file: BinaryIO, most: int) -> str:
    """The next line without its end; an empty one ends the header."""
    line = file.readline(max(0, most))
    if not line.endswith(b"\n"):
        raise InputError("its NRRD header has no end, or is cut short: copy or export it again.")
    try:
        text = line[:-1].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(ord(letter) < 32 and letter != "\t" for letter in text):
        raise InputError("its NRRD header is no text: copy or export it again.")
    return text


def _unescaped(text: str) -> str:
    return re.sub(r"\\([n\\])", lambda found: "\n" if found[1] == "n" else "\\", text)


def _known(header: Mapping[str, str], name: str, values: Collection[str]) -> str:
    value = header[name].lower()
    if value not in values:
        raise InputError(f"its '{name}' is {header[name][:40]!r}; what is read is {', '.join(values)}.")
    return value


def _sizes(header: Mapping[str, str]) -> list[int]:
    sizes = header["sizes"].split()
    if header["dimension"] not in ("3", "4") or len(sizes) != int(header["dimension"]):
        raise InputError(
            f"dimension {header['dimension'][:40]!r} and sizes {header['sizes'][:40]!r}: give one volume, or layers of "
            "one."
        )
    if not all(_SIZE.fullmatch(size) for size in sizes):
        raise InputError(f"sizes {header['sizes'][:40]!r} are no numbers of voxels. Export it again.")
    return [int(size) for size in sizes]


def _affine(header: Mapping[str, str], dimension: int) -> np.ndarray:
    for name in ("space directions", "space origin"):
        if len(header[name]) > _VECTOR_LETTERS:
            raise InputError(f"its '{name}' has {len(header[name])} letters, more than any needs. Export it again.")
    sign = _TO_RAS[_known(header, "space", _TO_RAS)]
    layers = ["none"] * (dimension - 3)
    directions = re.findall(r"\([^()]*\)|[^\s()]+|[()]", header["space directions"])
    kinds = header.get("kinds", " ".join(["list"] * len(layers) + ["domain"] * 3)).split()
    if (
        directions[: len(layers)] != layers
        or len(directions) != dimension
        or len(kinds) != dimension
        or not all(kind in _LAYER_KINDS for kind in kinds[: len(layers)])
        or not all(kind in ("domain", "space") for kind in kinds[len(layers) :])
    ):
        raise InputError(
            f"kinds {header.get('kinds', '')[:60]!r} and space directions {header['space directions'][:80]!r}: give "
            "one volume with three axes in space, or layers (none) of one, the first axis."
        )
    if not set(header.get("space units", "mm").replace('"', " ").split()) <= {"mm", "millimeter", "millimetre"}:
        raise InputError(f"space units {header['space units'][:40]!r}; millimetres are read. Export it again.")
    found = [_VECTOR.fullmatch(text) for text in (*directions[len(layers) :], header["space origin"])]
    if not all(found):
        raise InputError("'space directions' or 'space origin' are no vectors of three numbers. Export it again.")
    affine = np.eye(4)
    affine[:3] = np.array([match.groups() for match in found], dtype=np.float64).T * np.array(sign)[:, None]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and spacing.all() and abs(np.linalg.det(affine[:3, :3] / spacing)) > _FLAT):
        raise InputError(
            "'space directions' or 'space origin' are not finite or do not span space, so voxels have no place in it. "
            "Export it again."
        )
    return affine


def _dtype(header: Mapping[str, str]) -> np.dtype:
    dtype = _TYPES[_known(header, "type", _TYPES)]
    if dtype.itemsize == 1:
        return dtype
    if "endian" not in header:
        raise InputError("its NRRD header has no 'endian'. Export it again, from Slicer or with ITK.")
    return dtype.newbyteorder(_ENDIAN[_known(header, "endian", _ENDIAN)])


def _raw(file: BinaryIO, count: int, dtype: np.dtype) -> np.ndarray:
    held = os.fstat(file.fileno()).st_size - file.tell()
    _check_length(held, count * dtype.itemsize)
    flat = np.empty(count, dtype)
    _check_length(file.readinto(flat.view(np.uint8)), flat.nbytes)
    return flat


def _gzip(file: BinaryIO, count: int, dtype: np.dtype) -> np.ndarray:
    """Expand one gzip stream into the voxels, and not a byte beyond them."""
    promised = count * dtype.itemsize
    held = os.fstat(file.fileno()).st_size - file.tell()
    _check_length(min(held * _DEFLATE_LIMIT, promised), promised)  # before there is any room made for them
    flat = np.empty(count, dtype)
    target, end = flat.view(np.uint8), 0
    stream = zlib.decompressobj(_GZIP)
    try:
        while not stream.eof and (chunk := stream.unconsumed_tail or file.read(_CHUNK_BYTES)):
            part = stream.decompress(chunk, min(_PART_BYTES, promised - end + 1))
            _check_length(max(end + len(part), promised), promised)
            target[end : end + len(part)] = np.frombuffer(part, np.uint8)
            end += len(part)
    except zlib.error as error:
        raise InputError(f"its voxels cannot be expanded: copy or export it again. ({error})") from error
    _check_length(end, promised)
    if not stream.eof:
        raise InputError("its voxels are cut short: copy or export it again.")
    if stream.unused_data or file.read(1):
        raise InputError("there is something behind its voxels. Export it again, from Slicer or with ITK.")
    return flat


def _check_length(held: int, promised: int) -> None:
    if held != promised:
        raise InputError(
            f"its header promises {promised} bytes of voxels, the file holds {'fewer' if held < promised else 'more'}: "
            "copy or export it again."
        )
