"""MetaImage in one file (.mha), as ITK writes it (https://itk.org/Wiki/ITK/MetaIO/Documentation).

ITK copies a scan's metadata into the header under names of their own. These change nothing and are passed over; every
name that MetaIO itself knows counts, once and as it is spelled, or the file is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from monailabel_app.intake.stream import ZLIB, Stream
from monailabel_app.intake.volume import Volume, new_header, voxels
from uncertaintyseg.data.checks import checked_affine, checked_shape
from uncertaintyseg.errors import InputError

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_BOOLEAN = ("True", "False")
_ONLY = {
    "ObjectType": ("Image",), "NDims": ("3",), "BinaryData": ("True",), "CompressedData": _BOOLEAN,
    "BinaryDataByteOrderMSB": _BOOLEAN, "ElementByteOrderMSB": _BOOLEAN, "DistanceUnits": ("mm",),
    "ElementNumberOfChannels": ("1",), "ElementToIntensityFunctionSlope": ("1",),
    "ElementToIntensityFunctionOffset": ("0",), "ElementType": tuple(_TYPES), "ElementDataFile": ("LOCAL",),
}  # fmt: skip
_SIZES = {"DimSize": 3, "CompressedDataSize": 1}
_NUMBERS = {"Offset": 3, "TransformMatrix": 9, "ElementSpacing": 3}
_WITHOUT_MEANING = {
    "AcquisitionDate", "AnatomicalOrientation", "CenterOfRotation", "Color", "Comment", "CompressionLevel",
    "ElementMax", "ElementMin", "ElementSize", "ID", "Modality", "Name", "ObjectSubType", "ParentID",
}  # fmt: skip
_REFUSED = {
    "ElementNBits",
    "HeaderSize",
    "ImagePosition",
    "Orientation",
    "Origin",
    "Position",
    "Rotation",
    "SequenceID",
}
_READ = {**_ONLY, **_SIZES, **_NUMBERS}
_KNOWN = {name.lower(): name for name in {*_READ, *_WITHOUT_MEANING, *_REFUSED}}
_NEEDED = ("ObjectType", "NDims", "DimSize", "ElementSpacing", "ElementType")
_LAST = "ElementDataFile"
_LINE = re.compile(rb"([A-Za-z0-9_.|\[\]-]+) *= ?([^\x00-\x08\x0a-\x1f\x7f]*)\n")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,10}")
_HEADER_BYTES = 2**20
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def open_metaimage(file: BinaryIO) -> Volume:
    """Read the header and be ready for the voxels. Raises `InputError` for whatever is no such file."""
    header = _header(file)
    dtype = np.dtype(_TYPES[header["ElementType"]])
    if "True" in (header.get("BinaryDataByteOrderMSB"), header.get("ElementByteOrderMSB")):
        dtype = dtype.newbyteorder(">")
    shape = checked_shape([int(size) for size in header["DimSize"].split(" ")])
    is_packed = header.get("CompressedData") == "True"
    held = os.fstat(file.fileno()).st_size - file.tell()
    if is_packed and int(header.get("CompressedDataSize", held)) != held:
        raise InputError(f"its header promises {header['CompressedDataSize']} bytes, it holds {held}: copy it again")
    affine = _affine(header)
    stream = Stream(file, "MetaImage", ZLIB if is_packed else None)
    return Volume(new_header(shape, dtype.newbyteorder("="), affine), affine, voxels(stream, shape, dtype), is_packed)


def _header(file: BinaryIO) -> dict[str, str]:
    """The fields that count; the file is then at its voxels."""
    header: dict[str, str] = {}
    others: set[str] = set()
    left = _HEADER_BYTES
    while _LAST not in header:
        line = file.readline(left)
        left -= len(line)
        match = _LINE.fullmatch(line)
        if not match:
            raise InputError(f"its header says {line[:60]!r}, which is no 'Name = value': export it again with ITK")
        name, value = match[1].decode(), match[2].decode(errors="replace").strip(" ")
        if name in header or name in others:
            raise InputError(f"its header says {name!r} twice: export it again with ITK")
        if _KNOWN.get(name.lower(), name) != name or name in _REFUSED:
            raise InputError(f"its header says {name!r}, which is not read: export it again with ITK")
        if name not in _READ:
            others.add(name)
        else:
            header[name] = _checked(name, value)
    if missing := [name for name in _NEEDED if name not in header]:
        raise InputError(f"its header has no {missing[0]!r}: export it again with ITK")
    return header


def _checked(name: str, value: str) -> str:
    words = value.split(" ")
    if name in _ONLY:
        is_right = value in _ONLY[name]
    elif name in _SIZES:
        is_right = len(words) == _SIZES[name] and all(map(_SIZE.fullmatch, words))
    else:
        is_right = len(words) == _NUMBERS[name] and all(map(_NUMBER.fullmatch, words))
    if not is_right:
        elsewhere = "; give header and voxels in one file" if name == _LAST else ""
        raise InputError(f"its header says {name} = {value[:60]!r}, which is not read{elsewhere}")
    return value


def _affine(header: Mapping[str, str]) -> np.ndarray:
    def numbers(name: str, default: str = "") -> np.ndarray:
        return np.array(header.get(name, default).split(" "), dtype=np.float64)

    affine = np.eye(4)
    axes = numbers("TransformMatrix", "1 0 0 0 1 0 0 0 1").reshape(3, 3).T  # the header has an axis a row
    if (spacing := numbers("ElementSpacing")).min() <= 0:
        raise InputError(f"its header says ElementSpacing = {header['ElementSpacing'][:60]}, which is no voxel size")
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = numbers("Offset", "0 0 0")
    return checked_affine(_LPS_TO_RAS @ affine)
