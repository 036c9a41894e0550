"""Scans of several channels.

They are one file each, `<case>_0000.nii.gz`, `<case>_0001.nii.gz`, ... as nnU-Net names them, or by the sequence as
BraTS does; or one NIfTI file holds all along its fourth axis, as in the Decathlon.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.scan import IMAGE_SUFFIXES, SCAN_SUFFIXES, count_volumes, read_scan, read_volumes
from uncertaintyseg.errors import GridError, InputError

_SAME_GRID = 1e-3
"""mm by which the affines of channels may differ: files round them."""
SEQUENCES = (("_t1", "_t1ce", "_t2", "_flair"), ("-t1n", "-t1c", "-t2w", "-t2f"))
"""How BraTS ends the names of a scan's four files, until 2021 and since; in the order of the channels."""
Image = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_channels(image: Image, count: int, names: Sequence[str] = ()) -> MetaTensor:
    """Read a scan of so many channels.

    Args:
        image: of one channel a volume, or the folder of a DICOM series. Of several the first one's file, beside which
            the others are; a folder with the files of one scan; all the files, in order; or one file that holds all.
        count: number of channels.
        names: of them, for messages.

    Returns:
        float32 `[count, X, Y, Z]`, otherwise as of `read_scan`.

    Raises:
        InputError: For a missing channel, channels that do not share a grid, and as `read_scan`.
    """
    files = channel_files(image, count, names)
    scans = read_volumes(files[0], count) if len(files) < count else [read_scan(path) for path in files]
    first = scans[0]
    for scan in scans[1:]:
        same = scan.shape == first.shape and np.allclose(scan.affine, first.affine, rtol=0, atol=_SAME_GRID)
        if not same:
            raise GridError(
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


def channel_files(image: Image, count: int, names: Sequence[str] = ()) -> list[Path]:
    """The files of a scan's channels, in order; the only one where it holds all of them.

    Args:
        image: as of `read_channels`.
        count: number of channels.
        names: of them, for messages.

    Raises:
        InputError: When one is missing, and the message names the file that is expected, or one is given twice.
    """
    takes = f"this model takes {count} channels{_listed(names)}"
    if not isinstance(image, str | os.PathLike):
        return _given([Path(path) for path in image], count, takes)
    path = Path(image)
    if path.is_dir() and (inside := _first_channels(path)):
        if len(inside) > 1:
            raise InputError(f"{path}: {len(inside)} scans; give the file of the first channel of one: {inside[0]}.")
        path = inside[0]
    if count == 1:
        return [path]
    if path.is_dir():
        raise InputError(
            f"{path}: a folder without <case>_0000 is read as one DICOM series, of one channel; {takes}: give the "
            "series or file of each, in this order."
        )
    files = [_as_it_is(file) for file in _beside(path, count)]
    missing = [file for file in files if not file.exists()]
    if missing and path.is_file() and (held := count_volumes(path)) > 1:
        if held == count:
            return [path]
        raise InputError(f"{path}: holds {held} channels; {takes}.")
    if missing:
        if "," in path.name and not path.exists():
            raise InputError(f"{path} does not exist: write several files with spaces between them, not commas.")
        raise InputError(f"{path}: {takes}, one file each; {missing[0].name} is missing beside it.")
    return files


def _given(files: list[Path], count: int, takes: str) -> list[Path]:
    if len(files) == 1 and count > 1 and count_volumes(files[0]) == count:
        return files
    if len(files) != count:
        raise InputError(f"{len(files)} files were given; {takes}, one file each.")
    if twice := next((path for number, path in enumerate(files) if path in files[:number]), None):
        raise InputError(f"{twice}: given for two channels; {takes}, one file each.")
    return files


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if len(names) > 1 else ""


def named_channels(given: Mapping[str, str | os.PathLike[str]], names: Sequence[str]) -> list[Path]:
    """The files of a scan's channels in the model's order, given by name in any order; capitals do not count.

    Raises:
        InputError: For a name that the model does not have, or a channel that is missing; the message lists them.
    """
    known = {name.casefold(): name for name in names}
    listed = f"this model takes {', '.join(names)}, one file each."
    if unknown := [name for name in given if name.casefold() not in known]:
        raise InputError(f"there is no channel '{unknown[0]}'; {listed}")
    files = {name.casefold(): Path(path) for name, path in given.items()}
    if missing := [name for key, name in known.items() if key not in files]:
        raise InputError(f"channel {', '.join(missing)} is missing; {listed}")
    return [files[key] for key in known]


def scans_in(image: Image) -> dict[str, Image]:
    """The scans of a folder whose files nnU-Net's way names, `<case>_0000` first, by case; else the one that is given.

    The only scan has no name: "".
    """
    if not isinstance(image, str | os.PathLike) or not Path(image).is_dir():
        return {"": image}
    first = _first_channels(Path(image))
    if len(first) < 2:
        return {"": first[0] if first else image}
    return {path.name[: -len(_suffix(path))].removesuffix("_0000"): path for path in first}


def files_of_channels(path: Path) -> list[Path]:
    """Every channel's file of a scan whose first is `<case>_0000`; of any other the file alone."""
    suffix = _suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    if not suffix or not stem.endswith("_0000"):
        return [path]
    files = [path]
    while (following := _as_it_is(path.with_name(f"{stem.removesuffix('_0000')}_{len(files):04d}{suffix}"))).is_file():
        files.append(following)
    return files


def _as_it_is(file: Path) -> Path:
    """The same name with the ending that it has on the disk, where it is not that of the first channel."""
    if file.exists():
        return file
    stem = file.name[: len(file.name) - len(_suffix(file))]
    return next((other for suffix in SCAN_SUFFIXES if (other := file.with_name(stem + suffix)).is_file()), file)


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
    """None among pictures alone: these are the frames of a clip, whatever they are called."""
    found = [path for path in folder.iterdir() if _suffix(path) in IMAGE_SUFFIXES and not path.name.startswith(".")]
    return sorted(path for path in found if path.name[: -len(_suffix(path))].endswith("_0000"))


def _suffix(path: Path) -> str:
    return next((suffix for suffix in SCAN_SUFFIXES if path.name.lower().endswith(suffix)), "")
