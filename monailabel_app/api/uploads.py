"""Files that come with a request, kept for as long as it lasts under the client's own file name."""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

import nibabel as nib
import SimpleITK as sitk  # noqa: N813
from fastapi import UploadFile
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monailabel_app.app.names import checked_name
from monailabel_app.errors import TooLargeError
from uncertaintyseg.errors import InputError, UncertaintySegError

MAX_VOXELS = 2**29
"""Of one uploaded volume: 2 GiB as float32, a CT of 512 x 512 x 2048."""

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".mha")
_OHIF_NAME = "label.bin"  # whatever its format
_DETACHED = (".nhdr", ".mhd", ".hdr", ".img")
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_MAX_OFFSET = 2**20  # bytes of NIfTI extensions before the voxels
_TEXT_HEADER_BYTES = 2**16


def upload_name(upload: UploadFile) -> str:
    """Return the file name that a client gave. Raises `InputError` when it cannot be one."""
    name = PurePosixPath(PureWindowsPath(upload.filename or "upload.nii.gz").as_posix()).name
    if name == _OHIF_NAME:
        name = "label.nrrd" if upload.file.read(4) == b"NRRD" else "label.nii.gz"
        upload.file.seek(0)
    return checked_name("a file name", name)


@contextmanager
def received(upload: UploadFile) -> Iterator[Path]:
    """Write one uploaded volume to a folder of its own; errors raised meanwhile name the file as the client knows it.

    Raises:
        InputError: The upload's name cannot be a file name, or `check_volume` refuses it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = keep(upload, Path(folder))
        try:
            check_volume(path)
            yield path
        except UncertaintySegError as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error


def keep(upload: UploadFile, folder: Path) -> Path:
    """Write an upload into a folder under its own name."""
    path = folder / upload_name(upload)
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    return path


def check_volume(path: Path) -> None:
    """Look at the header of an uploaded volume before anything reads its voxels.

    Raises:
        InputError: It is none of .nii, .nii.gz, .nrrd and .mha, or its header points to another file of this machine.
        TooLargeError: It holds more than `MAX_VOXELS`.
    """
    name = path.name.lower()
    if name.endswith(_NIFTI):
        shape = _nifti_shape(path)
    elif name.endswith(_ITK):
        _check_voxels_are_inside(path)
        shape = _itk_shape(path)
    else:
        raise InputError(f"{path}: an uploaded volume is one file, {', '.join((*_NIFTI, *_ITK))}")
    if math.prod(shape) > MAX_VOXELS:
        raise TooLargeError(
            f"{path}: {' x '.join(map(str, shape))} voxels, more than the {MAX_VOXELS:,} of an upload. Crop it, or let "
            "whoever runs the server copy it into the studies folder"
        )


def check_slices(paths: list[Path]) -> None:
    """Raise `InputError` unless every file is a DICOM slice."""
    for path in paths:
        with path.open("rb") as file:
            is_dicom = file.read(132)[128:] == b"DICM"
        if not is_dicom or path.name.lower().endswith((*_NIFTI, *_ITK, *_DETACHED)):
            raise InputError(f"{path.name}: several files are the DICOM slices of one series; this one is not DICOM")


def _nifti_shape(path: Path) -> tuple[int, ...]:
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            block = file.read(_HEADER_BYTES)
        is_second = nib.Nifti2Header.may_contain_header(block)
        kind = nib.Nifti2Header if is_second else nib.Nifti1Header
        header = kind(block[: kind.sizeof_hdr], check=False)
        shape, offset = header.get_data_shape(), float(header["vox_offset"])
    except (OSError, EOFError, ValueError, zlib.error, HeaderDataError, WrapStructError) as error:
        raise InputError(
            f"{path}: not a readable NIfTI file, perhaps cut short: copy or export it again. ({error})"
        ) from error
    if not 0 <= offset <= _MAX_OFFSET:
        raise InputError(f"{path}: its header puts {offset:g} bytes before the voxels. Export the scan again")
    return shape


def _itk_shape(path: Path) -> tuple[int, ...]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read as an image; export it again. ({reason})") from error
    return (*reader.GetSize(), reader.GetNumberOfComponents())


def _check_voxels_are_inside(path: Path) -> None:
    """NRRD and MetaImage headers may name another file as the one with the voxels."""
    with path.open("rb") as file:
        head = file.read(_TEXT_HEADER_BYTES)
    if path.name.lower().endswith(".nrrd"):
        end = head.find(b"\n\n") if b"\n\n" in head else head.find(b"\r\n\r\n")
        fields = {line.split(b":", 1)[0].strip().lower() for line in head[: max(end, 0)].splitlines()}
        is_inside = end > 0 and not fields & {b"data file", b"datafile"}
    else:
        lines = [line.partition(b"=") for line in head.splitlines()]
        is_inside = next((v.strip() for k, _, v in lines if k.strip().lower() == b"elementdatafile"), b"") == b"LOCAL"
    if not is_inside:
        raise InputError(f"{path}: its voxels are in another file; give one file that holds header and voxels")
