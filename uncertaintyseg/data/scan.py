"""Reading scans and labels with validation, and writing volumes.

Whatever cannot be used raises `InputError` with a message that names the file and the way out. Geometry is RAS+.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import math
import os
import uuid
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import ArrayLike

from uncertaintyseg.data.geometry import copy_lattice, lattice_map, spacing_mm
from uncertaintyseg.data.nifti_geometry import nifti_affine
from uncertaintyseg.errors import InputError, StorageError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Files that count as volumes in a folder; a folder of DICOM slices is a volume too."""

_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MAX_LABEL = np.iinfo(np.uint16).max
_DEFLATE_LIMIT = 1032  # times smaller than its content is the most that gzip can make a file
_CHUNK = 2**20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DATA_OFFSET = 352
"""Where the voxels of a NIfTI file begin: behind its header and four bytes that say that nothing else is there."""
_GZIP_WINDOW = 31
"""What zlib calls a gzip stream with the largest window; its time stamp is 0."""
_PLANES_BYTES = 2**25
"""Of a map as float32, encoded at once."""
_GZIP_LEVEL = 1  # level 6 is slower and saves less than a tenth on maps
_SAME_GRID_TOLERANCE = 0.05  # voxels; programs that save only the qform lose this much to its float32 quaternion
_SLICE_GAP_TOLERANCE = 0.02  # relative; DICOM positions are decimal strings, rounded by the scanner


def read_scan(path: str | os.PathLike[str]) -> MetaTensor:
    """Read one 3D single-channel scan: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.

    Returns:
        float32 `[1, X, Y, Z]` with `.affine` (float64 4x4, voxel to RAS+ mm) and `.meta["filename_or_obj"]`.

    Raises:
        InputError: The file is missing, damaged, not a volume, not 3D, has more than one channel, is empty, one slice
            thick or constant, holds NaN or infinite voxels, or its affine is singular.
    """
    path = Path(path)
    array, affine = _read(path)
    if min(array.shape) == 1:
        raise InputError(
            f"{path}: one slice thick (shape {_by(array.shape)}); these models are 3D. Give the whole volume, "
            "for DICOM the folder of the series."
        )
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise InputError(f"{path}: {bad} voxels are NaN or infinite. Replace them, for CT with -1024, and try again.")
    if low == high:
        raise InputError(f"{path}: every voxel is {low:g}; nothing can be segmented in a constant image.")
    return _meta_tensor(torch.from_numpy(array), affine, path)


def read_label(
    path: str | os.PathLike[str], known_ids: Collection[int] | None = None, *, like: MetaTensor | None = None
) -> MetaTensor:
    """Read one label volume, optionally onto the grid of its scan.

    Args:
        path: Volume of whole numbers; 0 is the background.
        known_ids: Class ids that may occur besides 0; None accepts any.
        like: The scan it belongs to. Where both share their voxels in another axis order or direction, the label is
            turned to the scan's; any other difference is an error.

    Returns:
        int64 `[1, X, Y, Z]` with `.affine`.

    Raises:
        InputError: As `read_scan`, or values are not class ids, or an id is unknown, or the grids differ.
    """
    path = Path(path)
    array, affine = _read(path)
    if not (
        np.isfinite(array).all() and (array == np.rint(array)).all() and 0 <= array.min() <= array.max() <= _MAX_LABEL
    ):
        raise InputError(
            f"{path}: a label holds whole numbers from 0 to {_MAX_LABEL}; is this a scan or a probability map?"
        )
    label = torch.from_numpy(array.astype(np.int64))
    if known_ids is not None:
        present = torch.bincount(label.flatten()).nonzero().flatten().tolist()
        unknown = sorted(set(present) - {0, *known_ids})
        if unknown:
            raise InputError(
                f"{path}: unknown class id {', '.join(map(str, unknown))}; known are "
                f"{', '.join(map(str, sorted({0, *known_ids})))}. Relabel the file or configure the class."
            )
    if like is not None:
        label, affine = _onto(label, affine, like, path), _affine_of(like)
    return _meta_tensor(label, affine, path)


def write_volume(path: str | os.PathLike[str], array: ArrayLike | torch.Tensor, affine: ArrayLike) -> None:
    """Write a NIfTI file atomically: readers see the old file or the whole new one, never a part.

    Args:
        path: Ends in .nii or .nii.gz; missing folders are made.
        array: `[X, Y, Z]`. Integers and booleans are stored as uint8 or uint16, floats as float32.
        affine: 4x4, voxel to RAS+ mm.

    Raises:
        InputError: The file cannot be written there, or an integer lies outside 0 to 65535.
    """
    path = Path(path)
    if not path.name.lower().endswith(_NIFTI_SUFFIXES):
        raise InputError(f"{path}: volumes are written as NIfTI; end the name in .nii.gz")
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.size and not 0 <= array.min() <= array.max() <= _MAX_LABEL:
        raise InputError(f"{path}: labels must lie between 0 and {_MAX_LABEL}, not {array.min()} to {array.max()}")
    else:
        array = array.astype(np.uint8 if not array.size or array.max() <= np.iinfo(np.uint8).max else np.uint16)
    data = _nifti(array, affine).to_bytes()
    if path.name.lower().endswith(".gz"):
        data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    write_bytes(path, data)


def encode_map(
    array: ArrayLike | torch.Tensor, affine: ArrayLike, value_range: tuple[float, float], *, upward: bool = False
) -> bytes:
    """Encode a map as gzipped NIfTI: uint16 with `scl_slope` and `scl_inter`, so any viewer reads floats.

    The error is below 1e-5 of the range; where the range starts at 0, zeros stay exactly 0. Same map, same bytes. Only
    some planes are in memory at once, and of anything that reads parts with slices only these.

    Args:
        array: `[X, Y, Z]`.
        affine: 4x4, voxel to RAS+ mm.
        value_range: Smallest and largest value the measure can take.
        upward: No stored value is below its own: for risks that are held against thresholds.

    Raises:
        InputError: A voxel is NaN or lies outside the range by more than rounding.
    """
    _, slope, low = map_steps(np.zeros(0), value_range, upward=upward)

    def planes(part: slice) -> np.ndarray:
        return map_steps(array[:, :, part], value_range, upward=upward)[0]

    return _packed(planes, array.shape, affine, slope, low)


def encode_steps(steps: np.ndarray, affine: ArrayLike, slope: float, intercept: float) -> bytes:
    """Encode what `map_steps` made, as `encode_map` does.

    Args:
        steps: uint16 `[X, Y, Z]`, an array or what gives one for some planes.
        affine: 4x4, voxel to RAS+ mm.
        slope: of a step.
        intercept: value of step 0.
    """
    return _packed(lambda part: steps[:, :, part], steps.shape, affine, slope, intercept)


def _packed(
    planes: Callable[[slice], np.ndarray], shape: Collection[int], affine: ArrayLike, slope: float, intercept: float
) -> bytes:
    """A gzipped NIfTI file of steps `[X, Y, Z]`, of which some planes are made at a time."""
    header = _nifti(np.broadcast_to(np.uint16(0), tuple(shape)), affine).header
    header.set_slope_inter(slope, intercept)
    header["magic"], header["vox_offset"] = b"n+1", _DATA_OFFSET
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
    width, height, length = shape
    depth = max(1, _PLANES_BYTES // max(1, 4 * width * height))
    slabs = (planes(slice(start, start + depth)) for start in range(0, length, depth))
    parts = [packer.compress(header.binaryblock.ljust(_DATA_OFFSET, b"\0"))]
    parts += [packer.compress(slab.tobytes(order="F")) for slab in slabs]
    return b"".join([*parts, packer.flush()])


def map_steps(
    array: ArrayLike | torch.Tensor, value_range: tuple[float, float], *, upward: bool = False
) -> tuple[np.ndarray, float, float]:
    """Return a map as uint16 steps with slope and intercept: `value = slope * step + intercept`.

    Args:
        array: Of any shape.
        value_range: Smallest and largest value the measure can take.
        upward: Round up, so that no step stands for less than the value, in single precision.

    Raises:
        InputError: A voxel is NaN or lies outside the range by more than rounding.
    """
    values = np.asarray(array, dtype=np.float32)
    low, high = (float(v) for v in value_range)
    if not np.isfinite(values).all():
        raise InputError(
            "the map holds NaN or infinite voxels: check the model's weights and the scan it was made from"
        )
    slack = 1e-4 * (high - low) + float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if values.size and not low - slack <= values.min() <= values.max() <= high + slack:
        raise InputError(
            f"the map runs from {values.min():g} to {values.max():g}, outside its range {low:g} to {high:g}"
        )
    slope = (high - low) / _MAX_LABEL if high > low else 1.0
    if upward:  # NIfTI keeps the slope in single precision, which may round it down
        slope = float(np.nextafter(np.float32(slope), np.float32(np.inf)))
    steps = np.clip(np.rint((values - low) / slope), 0, _MAX_LABEL).astype(np.uint16)
    if upward:  # in single precision, as values are read: what was stored once is stored as the same step again
        said = steps.astype(np.float32) * np.float32(slope) + np.float32(low)
        steps += (said < values) & (steps < _MAX_LABEL)
    return steps, slope, low


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Float32 `[X, Y, Z]` and RAS+ affine, with the checks that scans and labels share."""
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path.")
    is_nifti = path.is_file() and path.name.lower().endswith(_NIFTI_SUFFIXES)
    array, affine = _read_nifti(path) if is_nifti else _read_itk(path)
    if 0 in array.shape:
        raise InputError(f"{path}: the volume is empty (shape {_by(array.shape)}). Export the scan again.")
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise InputError(
            f"{path}: expected one 3D volume with one channel, found shape {_by(array.shape)}. "
            + ("Give the whole volume." if array.ndim < 3 else "Split it and give one volume.")
        )
    spacing = np.array(spacing_mm(affine))
    # the determinant of the unit axes is the sine-like volume they span: 1 when orthogonal, 0 when they lie in a plane
    if not (np.isfinite(affine).all() and spacing.min() > 0 and abs(np.linalg.det(affine[:3, :3] / spacing)) > 1e-3):
        raise InputError(
            f"{path}: its affine is singular or not finite, so voxels have no place in space. "
            "Repair the header (sform and qform) or convert from the original DICOM again."
        )
    return np.ascontiguousarray(array, dtype=np.float32), affine


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with ImageOpener(path) as file:
            header = _nifti_header(file)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            if dtype.kind not in "biuf":
                raise InputError(f"{path}: colour or complex voxels ({dtype}); give a scan with one channel.")
            promised = math.prod(shape) * dtype.itemsize
            if promised > path.stat().st_size * _DEFLATE_LIMIT:
                raise InputError(
                    f"{path}: its header promises {promised / 1e9:.0f} GB of voxels, more than the file can hold: "
                    "copy or export it again."
                )
            array = np.asanyarray(ArrayProxy(file.fobj, header), dtype=np.float32)
            while file.read(_CHUNK):  # gzip compares its checksum where the stream ends
                pass
        return array, _nifti_place(path, header)
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
    try:
        return nifti_affine(header)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image = _read_dicom(path) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{path}: cannot be read as an image; give NIfTI, NRRD, MetaImage or a folder of DICOM slices, "
            f"or export it again if it was cut short. ({reason})"
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path}: {image.GetNumberOfComponentsPerPixel()} channels; give a scan with one channel.")
    affine, dimension = np.eye(4), image.GetDimension()
    if dimension >= 3:
        direction = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
        affine[:3, :3] = direction * image.GetSpacing()[:3]
        affine[:3, 3] = image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image).T, _LPS_TO_RAS @ affine


def _read_dicom(folder: Path) -> sitk.Image:
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        found = f"{len(series)} DICOM series" if series else "no DICOM series"
        raise InputError(f"{folder}: {found} in this folder; give a folder that holds the slices of exactly one.")
    reader = sitk.ImageSeriesReader()
    reader.MetaDataDictionaryArrayUpdateOn()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))
    image = reader.Execute()
    tag = "0020|0032"  # Image Position (Patient)
    slices = range(image.GetDepth())
    if image.GetDepth() > 2 and all(reader.HasMetaDataKey(i, tag) for i in slices):
        positions = np.array([[float(v) for v in reader.GetMetaData(i, tag).split("\\")] for i in slices])
        gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        # ITK spaces all slices like the first two, so one missing slice would move everything above it
        if np.ptp(gaps) > _SLICE_GAP_TOLERANCE * gaps.min():
            raise InputError(
                f"{folder}: the slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart: some are missing or doubled. "
                "Export the complete series, or resample it to even spacing."
            )
        places = np.array([image.TransformIndexToPhysicalPoint((0, 0, i)) for i in slices])
        if np.abs(places - positions).max() > _SLICE_GAP_TOLERANCE * max(gaps.min(), 1.0):  # ITK sees them upright
            raise InputError(
                f"{folder}: the slices are shifted against each other (tilted gantry): resample the series to a "
                "rectangular grid first."
            )
    return image


def _onto(label: torch.Tensor, affine: np.ndarray, like: MetaTensor, path: Path) -> torch.Tensor:
    scan_affine, scan_shape = _affine_of(like), tuple(like.shape[1:])
    lattice = lattice_map(affine, scan_affine, scan_shape, tolerance=_SAME_GRID_TOLERANCE)
    turned = None if lattice is None else tuple(label.shape[a] for a in lattice.axes)
    starts_at_a_corner = lattice is not None and all(
        shift == (0 if sign > 0 else n - 1) for sign, shift, n in zip(lattice.sign, lattice.shift, turned, strict=True)
    )
    if turned != scan_shape or not starts_at_a_corner:
        raise InputError(
            f"{path}: its grid ({_by(label.shape)}, spacing {_by(spacing_mm(affine))} mm, origin {_by(affine[:3, 3])}) "
            f"is not that of the scan {like.meta.get('filename_or_obj', '')} ({_by(scan_shape)}, spacing "
            f"{_by(spacing_mm(scan_affine))} mm, origin {_by(scan_affine[:3, 3])}). Resample the label onto the scan."
        )
    return copy_lattice(label[None], lattice, scan_shape)[0]


def _meta_tensor(volume: torch.Tensor, affine: np.ndarray, path: Path) -> MetaTensor:
    return MetaTensor(
        volume[None],
        affine=torch.as_tensor(affine, dtype=torch.float64),
        meta={
            "filename_or_obj": str(path),
            "original_affine": affine.copy(),
            "spatial_shape": np.array(volume.shape),
            "space": "RAS",
        },
    )


def _affine_of(scan: MetaTensor) -> np.ndarray:
    return scan.affine.numpy().astype(np.float64)


def _nifti(array: np.ndarray, affine: ArrayLike) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=np.float64))
    # both forms, as scanner coordinates: nibabel alone leaves the qform unset, which some readers prefer
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return image


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, making missing folders; once it returns, a power cut does not undo it.

    Raises:
        InputError: The file cannot be written there.
        StorageError: The disk or the quota is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageError(f"{path}: the disk is full, so nothing was changed. Make room and try again.") from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose a folder with space that you may write to."
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the disk keep the names in a folder, where the system can be asked to (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _by(values: Collection[float]) -> str:
    return " x ".join(f"{v:g}" for v in values)
