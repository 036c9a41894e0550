"""Scans of several channels, one file each: `<case>_0000.nii.gz`, `<case>_0001.nii.gz`, ... as nnU-Net names them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.scan import IMAGE_SUFFIXES, read_scan
from uncertaintyseg.errors import InputError

_SAME_GRID = 1e-3
"""mm by which the affines of channels may differ: files round them."""
Image = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_channels(image: Image, count: int) -> MetaTensor:
    """Read a scan of so many channels.

    Args:
        image: of one channel a volume, or the folder of a DICOM series. Of several the first one's file, beside which
            the others are; a folder with the files of one scan; or all the files, in order.
        count: number of channels.

    Returns:
        float32 `[count, X, Y, Z]`, otherwise as of `read_scan`.

    Raises:
        InputError: For a missing channel, channels that do not share a grid, and as `read_scan`.
    """
    scans = [read_scan(path) for path in channel_files(image, count)]
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


def channel_files(image: Image, count: int) -> list[Path]:
    """The files of a scan's channels, in order.

    Raises:
        InputError: When one is missing; the message names the file that is expected.
    """
    if not isinstance(image, str | os.PathLike):
        given = [Path(path) for path in image]
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
    suffix = _suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    case = stem.removesuffix("_0000")
    files = [path.with_name(f"{case}_{number:04d}{suffix or '.nii.gz'}") for number in range(count)]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise InputError(
            f"{path}: this model takes {count} channels, one file each; {missing[0].name} is missing beside it."
        )
    return files


def _first_channels(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if _suffix(path) and not path.name.startswith("."))
    return sorted(path for path in found if path.name[: -len(_suffix(path))].endswith("_0000"))


def _suffix(path: Path) -> str:
    return next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), "")
