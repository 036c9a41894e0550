"""Where the voxels of a NIfTI file lie: the rule of ITK (5.4), and so of SimpleITK and 3D Slicer.

NIfTI gives a volume two places, sform and qform, and its readers differ in which they take, in what they do with units
and with quaternions that rounding made too long. A person draws where Slicer shows a scan, so its rule is the one here:

- the sform counts where its axes are orthogonal and its code is 1 (scanner), the qform has no code, or both agree;
- else the qform counts; where no form has a code, the axes are those of LPS space and the origin is 0;
- voxel sizes are `pixdim`, whatever the columns of the sform measure; metres and microns are turned into millimetres.

ITK also guesses 1 mm where `pixdim` is 0 and mirrors the volume where it is negative; that is refused here.
"""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np

from uncertaintyseg.data.grids import axis_angle, skew
from uncertaintyseg.errors import InputError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # metre, millimetre, micron; anything else is taken for millimetres
ITK_SKEW = 1e-4
"""What ITK takes for rounding, see `grids.skew`."""

_ALIKE = 1e-4  # of direction cosines, and mm: forms that differ by less say the same
_HALF_TURN = 1e-7  # ITK: a quaternion with a smaller squared real part is a turn by 180 degrees
_KEPT = 1e-4  # voxels


def nifti_affine(header: nib.Nifti1Header | nib.Nifti2Header) -> np.ndarray:
    """Place of a NIfTI volume, as ITK and 3D Slicer read it.

    Where nibabel's affine is the same within 1e-4 voxel over the whole grid it is returned unchanged.

    Args:
        header: with its shape.

    Returns:
        float64 4x4, voxel to RAS+ mm.

    Raises:
        InputError: Neither form gives a rectangular grid, or `pixdim` is no size. Names no file.
    """
    axes, origin = _frame(header)
    affine = np.eye(4)
    affine[:3, :3] = axes * _voxel_size(header)
    affine[:3, 3] = origin
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) % 8, 1.0)
    return _kept(header, affine)


def _frame(header: nib.Nifti1Header) -> tuple[np.ndarray, np.ndarray]:
    """Unit axes as columns, and the origin in the file's unit, of the form that counts."""
    sform, qform = _sform(header), _qform(header)
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return _LPS_TO_RAS, np.zeros(3)
    if sform and (int(header["sform_code"]) == 1 or int(header["qform_code"]) <= 0 or _alike(sform, qform)):
        return sform
    if qform:
        return qform
    raise InputError(f"its header gives no rectangular grid: {_both(header)}. {_WAY_OUT}")


def _sform(header: nib.Nifti1Header) -> tuple[np.ndarray, np.ndarray] | None:
    """Axes and origin of the sform; None where it is not set, not finite or skewed."""
    rows = np.array([header[f"srow_{axis}"] for axis in "xyz"], dtype=np.float64)
    size = np.linalg.norm(rows[:, :3], axis=0)
    if int(header["sform_code"]) <= 0 or not (np.isfinite(rows).all() and size.all()):
        return None
    return (rows[:, :3] / size, rows[:, 3]) if skew(rows) <= ITK_SKEW else None


def _qform(header: nib.Nifti1Header) -> tuple[np.ndarray, np.ndarray] | None:
    """Axes and origin of the qform; None where it is not set or not finite."""
    b, c, d = imaginary = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.float64)
    origin = np.array([header[f"qoffset_{axis}"] for axis in "xyz"], dtype=np.float64)
    if int(header["qform_code"]) <= 0 or not np.isfinite([*imaginary, *origin]).all():
        return None
    squared = 1.0 - imaginary @ imaginary
    a = np.sqrt(max(squared, 0.0))
    if squared < _HALF_TURN:
        a, (b, c, d) = 0.0, imaginary / np.linalg.norm(imaginary)
    axes = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return axes * [1.0, 1.0, -1.0 if header["pixdim"][0] < 0 else 1.0], origin


def _alike(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray] | None) -> bool:
    return other is not None and all(np.abs(a - b).max() < _ALIKE for a, b in zip(one, other, strict=True))


def _voxel_size(header: nib.Nifti1Header) -> np.ndarray:
    size = np.array(header["pixdim"][1:4], dtype=np.float64)
    size[len(header.get_data_shape()) :] = 1.0  # axes that the volume does not have
    if not (np.isfinite(size).all() and size.min() > 0):
        raise InputError(
            f"its pixdim holds {size[~(size > 0) | ~np.isfinite(size)][0]:g}, which is no voxel size: {_both(header)}. "
            f"{_WAY_OUT}"
        )
    return size


def _kept(header: nib.Nifti1Header, affine: np.ndarray) -> np.ndarray:
    """The affine that nibabel gives where it is the same, else the one given."""
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return affine
    try:
        other = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError):
        return affine
    ends = [(0, n - 1) for n in (*header.get_data_shape(), 1, 1, 1)[:3]]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64).T
    off = np.abs(np.linalg.solve(affine, (other - affine) @ corners)).max()
    return other if off <= _KEPT else affine


_WAY_OUT = "Repair the header, resample the volume onto a rectangular grid, or convert from the original DICOM again."


def _both(header: nib.Nifti1Header) -> str:
    """What either form says, for a message."""
    rows = np.array([header[f"srow_{axis}"] for axis in "xyz"], dtype=np.float64)
    size = np.linalg.norm(rows[:, :3], axis=0)
    sizes = " x ".join(f"{v:g}" for v in size)
    angle = f" at {axis_angle(rows):.4g} degrees" if np.isfinite(size).all() and size.all() else ""
    imaginary = ", ".join(f"{header[f'quatern_{axis}']:g}" for axis in "bcd")
    pixdim = " x ".join(f"{v:g}" for v in header["pixdim"][1:4])
    return (
        f"the sform (code {int(header['sform_code'])}) has axes {sizes} long{angle}, the qform (code "
        f"{int(header['qform_code'])}) has voxels {pixdim} large, quaternion {imaginary}"
    )
