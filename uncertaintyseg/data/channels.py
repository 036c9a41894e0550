"""Scans of several channels.

They are one file each, `<case>_0000.nii.gz`, `<case>_0001.nii.gz`, ... as nnU-Net names them, or by the sequence as
BraTS does; or one NIfTI file holds all along its fourth axis, as in the Decathlon.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.scan import IMAGE_SUFFIXES, count_volumes, read_scan, read_volumes
from uncertaintyseg.errors import InputError

_SAME_GRID = 1e-3
"""mm by which the affines of channels may differ: files round them."""
SEQUENCES = (("_t1", "_t1ce", "_t2", "_flair"), ("-t1n", "-t1c", "-t2w", "-t2f"))
"""How BraTS ends the names of a scan's four files, until 2021 and since; in the order of the channels."""
Image = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_channels(image: Image, count: int) -> MetaTensor:
    """Read a scan of so many channels.

    Args:
        image: of one channel a volume, or the folder of a DICOM series. Of several the first one's file, beside which
            the others are; a folder with the files of one scan; all the files, in order; or one file that holds all.
        count: number of channels.

    Returns:
        float32 `[count, X, Y, Z]`, otherwise as of `read_scan`.

    Raises:
        InputError: For a missing channel, channels that do not share a grid, and as `read_scan`.
    """
    files = channel_files(image, count)
    scans = read_volumes(files[0], count) if len(files) < count else [read_scan(path) for path in files]
    first = scans[0]
    for scan in scans[1:]:
        same = scan.shape == first.shape and np.allclose(scan.affine, first.affine, rtol=0, atol=_SAME_GRID)
        if not same:
            raise InputError(
                f"{scan.meta['filename_or_obj']}: its grid is not that of {first.meta['filename_or_obj']}. Register "
                "the channels, and resample them onto one grid."
            )
    if count == 1:
        return first
    meta = {name: value for name, value in first.meta.items() if name != "affine"}
    return MetaTensor(torch.cat([scan.as_tensor() for scan in scans]), affine=first.affine, meta=meta)


def first_channel(image: Image, count: int) -> MetaTensor:
    """The first channel of a scan of so many, `[1, X, Y, Z]`. Args and errors are those of `read_channels`."""
    files = channel_files(image, count)
    return read_volumes(files[0], count)[0] if len(files) < count else read_scan(files[0])


def channel_files(image: Image, count: int) -> list[Path]:
    """The files of a scan's channels, in order; the only one where it holds all of them.

    Raises:
        InputError: When one is missing; the message names the file that is expected.
    """
    if not isinstance(image, str | os.PathLike):
        given = [Path(path) for path in image]
        if len(given) == 1 and count > 1 and count_volumes(given[0]) == count:
            return given
        if len(given) != count:
            raise InputError(f"{len(given)} files were given; this model takes {count} channels, one file each.")
        return given
    path = Path(image)
    if path.is_dir() and (inside := _first_channels(path)):
        if len(inside) > 1:
            raise InputError(f"{path}: {len(inside)} scans; give the file of the first channel of one: {inside[0]}.")
        path = inside[0]
    if count == 1:
        return [path]
    files = _beside(path, count)
    missing = [file for file in files if not file.exists()]
    if missing and path.is_file() and (held := count_volumes(path)) > 1:
        if held == count:
            return [path]
        raise InputError(f"{path}: holds {held} channels; this model takes {count}.")
    if missing:
        raise InputError(
            f"{path}: this model takes {count} channels, one file each; {missing[0].name} is missing beside it."
        )
    return files


def _beside(path: Path, count: int) -> list[Path]:
    """Where the files of the channels must be, by the name of one."""
    suffix = _suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    case, endings = stem.removesuffix("_0000"), [f"_{number:04d}" for number in range(count)]
    for sequence in SEQUENCES:
        if len(sequence) == count and stem.endswith(sequence[0]):
            case, endings = stem.removesuffix(sequence[0]), list(sequence)
    return [path.with_name(f"{case}{ending}{suffix or '.nii.gz'}") for ending in endings]


def _first_channels(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if _suffix(path) and not path.name.startswith("."))
    return sorted(path for path in found if path.name[: -len(_suffix(path))].endswith("_0000"))


def _suffix(path: Path) -> str:
    return next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), "")
