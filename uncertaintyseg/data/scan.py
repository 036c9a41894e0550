"""Reading scans and labels with validation.

Whatever cannot be used raises `InputError` with a message that names the file and the way out. Geometry is RAS+.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from uncertaintyseg.data.checks import (
    by,
    check_ids,
    check_values,
    check_whole,
    checked_affine,
    checked_shape,
    named,
)
from uncertaintyseg.data.geometry import copy_lattice
from uncertaintyseg.data.images import (
    PICTURE_SUFFIXES,
    Stored,
    frames_in,
    is_picture,
    read_frames,
    read_mask,
    read_picture,
)
from uncertaintyseg.data.label_grid import Grid, grid_turn
from uncertaintyseg.data.nifti_geometry import nifti_affine
from uncertaintyseg.data.nifti_notes import notes_in
from uncertaintyseg.data.scan_files import is_dicom, scan_files
from uncertaintyseg.data.time_axis import SPACING_KNOWN, axis_said_beside
from uncertaintyseg.data.writing import NIFTI_SUFFIXES
from uncertaintyseg.errors import InputError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Files that count as volumes in a folder; a folder of DICOM slices is a volume too."""

SCAN_SUFFIXES = (*IMAGE_SUFFIXES, *PICTURE_SUFFIXES, ".dcm")
"""Files that count as scans in a folder: volumes, else pictures and single DICOM files."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DEFLATE_LIMIT = 1032  # times smaller than its content is the most that gzip can make a file
_CHUNK = 2**20


def read_scan(path: str | os.PathLike[str], volume: str | None = None) -> MetaTensor:
    """Read one single-channel scan: NIfTI, NRRD, MetaImage, or one DICOM series (its folder, or one enhanced file).

    An image is a scan of one slice: PNG, JPEG, TIFF, an ultrasound DICOM, or a volume of one slice. A clip is a scan
    whose third axis is time: a folder of frames, a TIFF of several pages, a cine DICOM (`images`, `ultrasound`), or a
    volume whose data set says so (`time_axis.axis_said_beside`).

    Args:
        path: File or folder.
        volume: Name of one of several volumes in a DICOM series, see `dicom.find_volumes`.

    Returns:
        float32 `[1, X, Y, Z]` with `.affine` (float64 4x4, voxel to RAS+ mm) and `.meta["filename_or_obj"]`; images and
        clips say what they are in `.meta`, see `time_axis`.

    Raises:
        InputError: The file is missing, damaged, no scan, has more than one channel, is empty or constant, holds NaN or
            infinite voxels, its affine is singular, or frames differ in size.
    """
    path = Path(path)
    array, affine, about = _stored(path, volume)
    return _checked_scan(array, affine, path, about)


def scan_notes(path: Path) -> dict[str, object]:
    """Which entries of `time_axis` hold for a volume's file, without its voxels: what its header and data set say."""
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        return dict(axis_said_beside(path)) if path.name.lower().endswith(IMAGE_SUFFIXES) else {}
    try:
        with ImageOpener(path) as file:
            header = _nifti_header(file)
            return notes_in(header) | (axis_said_beside(path) if header.get_data_shape()[2:3] > (1,) else {})
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError):
        return {}


def count_volumes(path: Path) -> int:
    """How many volumes of one grid a NIfTI file says that it holds, along its fourth axis; 1 for any other file."""
    if not path.name.lower().endswith(NIFTI_SUFFIXES) or not path.is_file():
        return 1
    try:
        with ImageOpener(path) as file:
            return math.prod(_nifti_header(file).get_data_shape()[3:])
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError):
        return 1  # reading its voxels will say what is wrong


def read_volumes(path: str | os.PathLike[str], count: int) -> list[MetaTensor]:
    """Read the channels of a scan that lie in one NIfTI file along its fourth axis, as the Decathlon has them.

    Args:
        path: File.
        count: How many there have to be.

    Returns:
        Each as of `read_scan`.

    Raises:
        InputError: There are more or fewer, or as `read_scan` for one of them.
    """
    path = Path(path)
    channels, affine = unchecked_volumes(path, count)
    return [_checked_scan(channel, affine, path) for channel in channels]


def read_label(
    path: str | os.PathLike[str], known_ids: Collection[int] | None = None, *, like: MetaTensor | None = None
) -> MetaTensor:
    """Read one label volume, optionally onto the grid of its scan.

    Args:
        path: Volume of whole numbers; 0 is the background. A mask as a picture, or frames of such (`images.read_mask`),
            has the grid of a scan of its size.
        known_ids: Class ids that may occur besides 0; None accepts any.
        like: The scan it belongs to. Where both share their voxels in another axis order or direction, the label is
            turned to the scan's; any other difference is an error.

    Returns:
        int64 `[1, X, Y, Z]` with `.affine`.

    Raises:
        InputError: As `read_scan`, or values are not class ids, or an id is unknown, or the grids differ.
    """
    path = Path(path)
    array, affine, about = _stored(path, label=True)
    if like is not None and SPACING_KNOWN in about and array.shape == tuple(like.shape[1:]):
        affine = _affine_of(like)  # a picture counts pixels, and nothing else
    with named(path):
        check_whole(array)
        label = torch.from_numpy(array.astype(np.int64, order="C"))
        if known_ids is not None:
            check_ids(torch.bincount(label.flatten()).nonzero().flatten().tolist(), known_ids)
        if like is not None:
            grid = Grid(tuple(like.shape[1:]), _affine_of(like), like.meta.get("filename_or_obj", ""))
            turn = grid_turn(affine, tuple(label.shape), grid)
            label, affine = copy_lattice(label[None], turn, grid.shape)[0], grid.affine
    return _meta_tensor(label, affine, path, about)


def unchecked(path: str | os.PathLike[str], *, label: bool = False) -> Stored:
    """Read a volume, an image or a clip whatever its values are.

    Args:
        path: as of `read_scan`, or of `read_label`.
        label: it is a mask.

    Returns:
        float32 `[X, Y, Z]`, in memory in the order in which it was stored, its float64 4x4 voxel to RAS+ mm, and what
        `meta` says of its axes.

    Raises:
        InputError: The file is missing, damaged, no scan, empty, of another number of axes, or its affine is singular.
    """
    return _stored(Path(path), label=label)


def unchecked_volumes(path: Path, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Read what lies along the fourth axis of a NIfTI file, each as of `unchecked`, and their affine.

    Raises:
        InputError: There are more or fewer than `count`, or as `unchecked`.
    """
    scan_files(path)
    array, affine, _ = _read_nifti(path)
    with named(path):
        held = math.prod(array.shape[3:])
        if array.ndim < 4 or held != count:
            raise InputError(f"holds {held} channels (shape {by(array.shape)}); {count} are needed.")
        affine = checked_affine(affine)
    channels = array.reshape(*array.shape[:3], count)
    return [np.asarray(channels[..., number], dtype=np.float32) for number in range(count)], affine


def _stored(path: Path, volume: str | None = None, *, label: bool = False) -> Stored:
    """What a file or folder holds, whatever its values are: float32, or the numbers of a mask; of three axes."""
    files = scan_files(path)
    frames = frames_in(path)
    if volume is not None and (frames or not (path.is_dir() or is_dicom(path))):
        raise InputError(f"{path}: only of a DICOM series can a volume be chosen by name ({volume!r}).")
    if frames or is_picture(path):
        array, affine, about = read_mask(path) if label else read_frames(frames) if frames else read_picture(path)
    elif path.is_dir() or is_dicom(path):
        array, affine, about = _read_dicom(path, files, volume)
    else:
        is_nifti = path.name.lower().endswith(NIFTI_SUFFIXES)
        array, affine, about = _read_nifti(path) if is_nifti else _read_itk(path)
        about |= axis_said_beside(path) if array.ndim > 2 and array.shape[2] > 1 else {}
    with named(path):
        array, affine = array.reshape(checked_shape(array.shape)), checked_affine(affine)  # axes of length 1 go
    return Stored(np.asarray(array, dtype=np.float32), affine, about)


def _checked_scan(
    array: np.ndarray, affine: np.ndarray, path: Path, about: Mapping[str, object] = MappingProxyType({})
) -> MetaTensor:
    array = np.ascontiguousarray(array)
    low, high = float(array.min()), float(array.max())
    unusable = 0 if np.isfinite([low, high]).all() else int(np.count_nonzero(~np.isfinite(array)))
    with named(path):
        check_values(low, high, unusable)
    return _meta_tensor(torch.from_numpy(array), affine, path, about)


def _read_nifti(path: Path) -> Stored:
    try:
        with ImageOpener(path) as file:
            header = _nifti_header(file)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            if dtype.kind not in "biuf":
                raise InputError(f"{path}: colour or complex voxels ({dtype}); give a scan with one channel.")
            promised = math.prod(shape) * dtype.itemsize
            if promised > path.stat().st_size * _DEFLATE_LIMIT:
                raise InputError(
                    f"{path}: its header promises {promised / 1e6:,.0f} MB of voxels, more than the file can hold: "
                    "copy or export it again."
                )
            array = np.asanyarray(ArrayProxy(file.fobj, header), dtype=np.float32)
            while file.read(_CHUNK):  # gzip compares its checksum where the stream ends
                pass
        return Stored(array, _nifti_place(path, header), notes_in(header))
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise InputError(
            f"{path}: not a readable NIfTI file, perhaps cut short: copy or export it again. ({error})"
        ) from error


def _nifti_header(file: ImageOpener) -> nib.Nifti1Header:
    """The header alone: nibabel opens no image whose quaternion was rounded."""
    start = file.read(nib.Nifti2Header.sizeof_hdr)
    file.seek(0)
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        if kind.may_contain_header(start):
            return kind.from_fileobj(file)
    raise ImageFileError("it has no NIfTI header")


def _nifti_place(path: Path, header: nib.Nifti1Header) -> np.ndarray:
    with named(path):
        return nifti_affine(header)


def _read_itk(path: Path) -> Stored:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{path}: cannot be read as an image; give NIfTI, NRRD, MetaImage or a folder of DICOM slices, "
            f"or export it again if it was cut short. ({reason})"
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path}: {image.GetNumberOfComponentsPerPixel()} channels; give a scan with one channel.")
    affine, dimension = np.eye(4), image.GetDimension()
    axes = min(dimension, 3)  # a flat image lies in the plane of the first two
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:axes, :axes]
    affine[:axes, :axes] = direction * image.GetSpacing()[:axes]
    affine[:axes, 3] = image.GetOrigin()[:axes]
    return Stored(sitk.GetArrayFromImage(image).T, _LPS_TO_RAS @ affine, {})


def _read_dicom(path: Path, files: Collection[Path], volume: str | None) -> Stored:
    from uncertaintyseg.data.dicom import choose_volume, read_headers  # noqa: PLC0415 - pydicom takes a while
    from uncertaintyseg.data.dicom_pixels import read_voxels  # noqa: PLC0415
    from uncertaintyseg.data.ultrasound import is_flat, read_flat  # noqa: PLC0415

    with named(path):
        headers = read_headers(files)
        if is_flat(headers):
            return read_flat(headers)
        stack = choose_volume(headers, volume)
        return Stored(read_voxels(stack), stack.affine, {})


def _meta_tensor(
    volume: torch.Tensor, affine: np.ndarray, path: Path, about: Mapping[str, object] = MappingProxyType({})
) -> MetaTensor:
    return MetaTensor(
        volume[None],
        affine=torch.as_tensor(affine, dtype=torch.float64),
        meta={
            "filename_or_obj": str(path),
            "original_affine": affine.copy(),
            "spatial_shape": np.array(volume.shape),
            "space": "RAS",
            **about,
        },
    )


def _affine_of(scan: MetaTensor) -> np.ndarray:
    return scan.affine.numpy().astype(np.float64)
