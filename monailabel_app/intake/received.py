"""Volumes that come with a request. What leaves this module is an array, or a file that this server has written."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
from fastapi import UploadFile

from monailabel_app.intake.channels import write_channels
from monailabel_app.intake.label import read_label, read_layers
from monailabel_app.intake.opening import DECODE_FIRST, SUFFIXES, open_volume, suffix_of
from monailabel_app.intake.scan import NOTHING_SAID, write_scan
from monailabel_app.intake.series import open_series
from monailabel_app.names import checked_name
from uncertaintyseg.data.images import is_picture
from uncertaintyseg.data.label_grid import Grid
from uncertaintyseg.data.scan_files import is_dicom
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.errors import InputError, UncertaintySegError

_OHIF_NAME = "label.bin"  # whatever its format
_BLOCK = 2**20


class ReceivedScan(NamedTuple):
    """A scan that came with a request.

    Attributes:
        stem: the client's name of its file, without .nii.gz and the like.
        path: of the NIfTI file that this server has written.
        checksum: SHA-256 of the client's file.
        channels: paths of the further channels that it has written, in order.
    """

    stem: str
    path: Path
    checksum: str
    channels: Sequence[Path] = ()


@contextmanager
def received_scan(
    upload: UploadFile, channels: Sequence[UploadFile] = (), about: Mapping[str, Any] = NOTHING_SAID
) -> Iterator[ReceivedScan]:
    """Take one scan; its files last as long as the context.

    Args:
        upload: its file, of several channels that of the first.
        channels: those of the further ones, in order.
        about: as of `write_scan`.

    Raises:
        InputError: The file is no scan that this server takes; the message names it as the client does.
        TooLargeError: It has too many voxels.
    """
    with ExitStack() as stack:
        path, checksum = stack.enter_context(_kept(upload))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "scan"
        folder.mkdir()  # so that both folders that `time_axis.said_beside` looks into are ours
        stem = path.name[: -len(suffix_of(path.name))]
        if channels:
            others = [stack.enter_context(_kept(channel))[0] for channel in channels]
            written, *further = _write_channels([path, *others], folder, stem, about)
            yield ReceivedScan(stem.removesuffix("_0000"), written, checksum, further)
            return
        with open_volume(path) as volume:
            written = write_scan(volume, folder, stem, about)
        yield ReceivedScan(stem, written, checksum)


def write_session(
    paths: Sequence[Path], folder: Path, channels: Sequence[Path] = (), about: Mapping[str, Any] = NOTHING_SAID
) -> list[Path]:
    """Write the scan that a client sent as one volume, as the files of a DICOM series, or as those of its channels.

    Args:
        paths: the client's files, in a folder of their own.
        folder: where the scan goes.
        channels: files of the further channels, in order, where `paths` is one volume, the first.
        about: as of `write_scan`.

    Returns:
        One file, or one for each channel.

    Raises:
        InputError: They are no scan that this server takes.
        TooLargeError: It has too many voxels, or channels.
    """
    first = paths[0]
    if channels and len(paths) > 1:
        raise InputError("channels: a scan of several channels is one volume under 'files', and the others here")
    if channels:
        return _write_channels([first, *channels], folder, first.name[: -len(suffix_of(first.name))], about)
    with _unplaced(first.parent, first.name if len(paths) == 1 else "series"):
        if picture := next(filter(is_picture, paths), None):
            raise InputError(f"{picture.name}: {DECODE_FIRST}")
        if len(paths) > 1 or (is_dicom(first) and not first.name.lower().endswith(SUFFIXES)):
            return [write_scan(open_series(first.parent), folder, "series", about)]
        with open_volume(first) as volume:
            return [write_scan(volume, folder, first.name[: -len(suffix_of(first.name))], about)]


def _write_channels(paths: Sequence[Path], folder: Path, stem: str, about: Mapping[str, Any]) -> list[Path]:
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_unplaced(path.parent))
        return write_channels(paths, folder, stem, about)


@contextmanager
def _unplaced(folder: str | os.PathLike[str], called: str = "") -> Iterator[None]:
    """Let no error tell in which folder the client's files lie; the folder itself is `called` something else."""
    try:
        yield
    except UncertaintySegError as error:
        raise type(error)(str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), called)) from error


def received_label(upload: UploadFile, ids: Mapping[str, int], grid: Grid, told: Sequence[Segment] = ()) -> np.ndarray:
    """Take one label.

    Args:
        upload: one file.
        ids: class ids by name that may occur, besides 0.
        grid: of its scan.
        told: what the client says that its numbers are; names in the file come first.

    Returns:
        uint8 or uint16 `[X, Y, Z]` on the scan's grid.

    Raises:
        InputError: The file is no label of this scan; the message names it as the client does.
    """
    with _kept(upload) as (path, _):
        if suffix_of(path.name) == ".nrrd" and (found := read_layers(path, ids, grid)) is not None:
            return found
        with open_volume(path, math.prod(grid.shape)) as volume:
            return read_label(volume, ids, grid, told)


def client_name(given: str | None) -> str:
    """The name of a file without the folders before it. Raises `InputError` when it cannot be one."""
    name = PurePosixPath(PureWindowsPath(given or "upload.nii.gz").as_posix()).name
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    checked_name("a file name", name[: len(name) - len(suffix)])
    return name


@contextmanager
def _kept(upload: UploadFile) -> Iterator[tuple[Path, str]]:
    """The client's bytes in a file of their own, with their SHA-256; no error tells where it is."""
    with tempfile.TemporaryDirectory() as folder:
        path, digest = Path(folder) / _upload_name(upload), hashlib.sha256()
        with path.open("xb") as file:
            while block := upload.file.read(_BLOCK):
                digest.update(block)
                file.write(block)
        with _unplaced(folder):
            yield path, digest.hexdigest()


def _upload_name(upload: UploadFile) -> str:
    name = client_name(upload.filename)
    if name == _OHIF_NAME:
        name = "label.nrrd" if upload.file.read(4) == b"NRRD" else "label.nii.gz"
        upload.file.seek(0)
    return name
