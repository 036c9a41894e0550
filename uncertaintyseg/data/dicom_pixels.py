"""Voxels of DICOM volumes, decoded by GDCM."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from uncertaintyseg.data.dicom import Stack
from uncertaintyseg.data.dicom_frames import Frame
from uncertaintyseg.errors import InputError


def read_voxels(stack: Stack) -> np.ndarray:
    """Rescaled voxels `[column, row, slice]`, float32.

    Raises:
        InputError: A file cannot be decoded; names it.
    """
    columns, rows, slices = stack.shape
    voxels = np.empty((slices, rows, columns), dtype=np.float32)
    name, pixels = None, None
    for index, frame in enumerate(stack.frames):
        if frame.header.filename != name:
            name = frame.header.filename
            pixels = _decoded(name)
        if pixels.shape[-2:] != (rows, columns) or frame.number >= len(pixels):
            raise InputError(f"{name}: its pixels are not those that its header promises: export it again.")
        voxels[index] = _rescaled(pixels[frame.number], frame)
    return voxels.T


def _decoded(name: str) -> np.ndarray:
    """`[frame, row, column]`, each rescaled by `Frame.file_rescale`."""
    try:
        image = sitk.ReadImage(str(name), sitk.sitkFloat32, imageIO="GDCMImageIO")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{name}: its pixels cannot be decoded; export it again. ({reason})") from error
    pixels = sitk.GetArrayFromImage(image)
    return pixels.reshape(-1, *pixels.shape[-2:])


def _rescaled(pixels: np.ndarray, frame: Frame) -> np.ndarray:
    """Pixels as their own frame rescales them, not the file as a whole."""
    if frame.rescale == frame.file_rescale:
        return pixels
    (slope, intercept), (applied_slope, applied_intercept) = frame.rescale, frame.file_rescale
    return np.rint((pixels - applied_intercept) / applied_slope) * slope + intercept
