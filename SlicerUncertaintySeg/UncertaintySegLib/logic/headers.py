"""What the header of a scan's file says of its slices: whoever sends many files opens none of them in Slicer."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

_HEAD = 65536
"""So many bytes hold the header of any of these files."""
_SIZES = re.compile(rb"^(?:sizes:|DimSize\s*=)\s*([\d ]+)$", re.MULTILINE)
"""The line of NRRD, or of MetaImage, that has the size of each axis."""
_NIFTI = {348: ("8h", 40, 148), 540: ("8q", 16, 240)}
"""By the size of a header, NIfTI-1 and NIfTI-2: how the sizes of the axes stand, where they do, and `descrip`."""
_DESCRIPTION = 80
_CLIP = b"axis=time"
"""What `uncertaintyseg convert` and servers note there."""


@dataclass(frozen=True)
class Header:
    """How many slices a file has, None where it does not say; and whether it notes that they are frames."""

    slices: int | None = None
    is_clip: bool = False


def read(file: Path) -> Header:
    """Read the header of a NIfTI, NRRD or MetaImage file.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as opened:
            head = opened.read(_HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return Header()
    return _nifti(head) if ".nii" in file.name.lower() else _text(head)


def _nifti(head: bytes) -> Header:
    for order in "<>":
        size = struct.unpack_from(f"{order}i", head)[0] if len(head) >= min(_NIFTI) else 0
        if size in _NIFTI and len(head) >= size:
            kind, place, description = _NIFTI[size]
            axes, *sizes = struct.unpack_from(order + kind, head, place)
            words = head[description : description + _DESCRIPTION].split(b"\0")[0].split()
            return Header(_third(sizes[:axes]) if 0 < axes <= len(sizes) else None, _CLIP in words)
    return Header()


def _text(head: bytes) -> Header:
    found = _SIZES.search(head.replace(b"\r", b""))
    return Header(_third([int(size) for size in found[1].split()])) if found else Header()


def _third(sizes: list[int]) -> int | None:
    if len(sizes) < 2:
        return None
    return sizes[2] if len(sizes) > 2 else 1
