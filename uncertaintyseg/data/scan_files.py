"""Which files a scan consists of: a MetaImage or NRRD header may leave its voxels in another file.

What reads a scan and what hashes or hands it on must mean the same bytes, so headers that could be read in two ways are
refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from uncertaintyseg.errors import InputError

_META, _NRRD, _ANALYZE = (".mha", ".mhd"), (".nrrd", ".nhdr"), (".hdr", ".img", ".img.gz")
_HEADER_BYTES = 2**20
_PREAMBLE, _MAGIC = 128, b"DICM"
_META_KEY, _NRRD_KEYS = "ElementDataFile", ("data file", "datafile")


def scan_files(path: str | os.PathLike[str]) -> list[Path]:
    """Every file whose bytes a scan is made of: of a folder those in it, of a detached header its voxels too.

    Args:
        path: a volume, a header whose voxels lie in a file beside it, or a folder with DICOM slices.

    Raises:
        InputError: There is no such file, or a header names its voxels in a way that is not one file beside it.
    """
    path = Path(path)
    if path.exists() and not os.access(path, os.R_OK):
        raise InputError(f"{path}: you have no permission to read it; ask its owner, or change it (chmod).")
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path.")
    name = path.name.lower()
    if name.endswith(_ANALYZE):
        raise InputError(
            f"{path}: two files, .hdr and .img, which do not say for certain where left is. Convert the scan to "
            ".nii.gz, best from the original DICOM."
        )
    if not name.endswith((*_META, *_NRRD)):
        return [path]
    voxels = _meta_voxels(path) if name.endswith(_META) else _nrrd_voxels(path)
    if voxels is None:
        return [path]
    beside = path.parent / voxels
    if Path(voxels).name != voxels or not beside.is_file():
        raise InputError(
            f"{path}: its header names {voxels!r} as the file of its voxels; give one file, and keep it in the folder "
            "of the header. Or save the scan as one file: .nii.gz, .nrrd or .mha."
        )
    return [path, beside]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


def _meta_voxels(path: Path) -> str | None:
    """The name after ElementDataFile, the last line of the header; None where the voxels follow it."""
    seen: set[str] = set()
    for line in _lines(path):
        key, is_field, value = (part.strip() for part in line.partition("="))
        if key == _META_KEY:
            return None if value == "LOCAL" else value
        if not is_field or ":" in key or key.lower() in {*seen, _META_KEY.lower()}:
            break
        seen.add(key.lower())
    raise InputError(f"{path}: not a readable MetaImage header; export the scan again, as .nii.gz or .mha.")


def _nrrd_voxels(path: Path) -> str | None:
    """The value of the field "data file", which ends no header; None where the voxels follow an empty line."""
    named: list[str] = []
    for line in _lines(path):
        if not line:
            break
        key, is_field, value = line.partition(":")
        if is_field and not value.startswith("=") and key.strip().lower() in _NRRD_KEYS:
            named.append(value.strip())
    if len(named) > 1:
        raise InputError(f"{path}: its header names its voxels {len(named)} times; export the scan again as .nrrd.")
    return named[0] if named else None


def _lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    return [line.rstrip("\r") for line in head.decode("latin-1").split("\n")]
