"""How much room preprocessed cases take, by the headers of their scans."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import SimpleITK as sitk  # noqa: N813

from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.writing import NIFTI_SUFFIXES
from uncertaintyseg.errors import InputError
from uncertaintyseg.training.patches import MOST_VOXELS

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case

_FLOAT, _INDEX = 4, 3 * 4
_UNPACKED, _STORED = 4, 2
"""A file of unknown shape is taken to hold so many times its bytes, and so many bytes a voxel."""


@dataclass(frozen=True)
class CaseSize:
    """Bytes of a preprocessed case, or of several together.

    Attributes:
        memory: image and label as float32, and where its structures are.
        disk: the label in the fewest bytes that hold its classes.
    """

    memory: int
    disk: int

    @classmethod
    def of(cls, voxels: float, channels: int, structures: int) -> CaseSize:
        """Of a case of so many voxels on the model's grid."""
        places = _INDEX * min(MOST_VOXELS * structures, voxels)
        whole = _FLOAT * channels * voxels + places
        return cls(round(whole + _FLOAT * voxels), round(whole + (1 if structures < 128 else 2) * voxels))

    @classmethod
    def together(cls, sizes: Iterable[CaseSize]) -> CaseSize:
        """The sum."""
        sizes = list(sizes)
        return cls(sum(size.memory for size in sizes), sum(size.disk for size in sizes))


def case_size(case: Case, channels: int, structures: int, spacing: Sequence[float] | None) -> CaseSize:
    """What a case takes once it is preprocessed, as far as its header tells.

    Args:
        case: its scan is not read.
        channels: of the scan.
        structures: of the model.
        spacing: of the model's grid, mm; None: the scan's own.
    """
    return CaseSize.of(_voxels(case, channels, spacing), channels, structures)


def _voxels(case: Case, channels: int, spacing: Sequence[float] | None) -> float:
    try:
        file = channel_files(case.image, channels)[0]
        found = _header(file)
        if found is None:
            return sum(path.stat().st_size for path in scan_files(file)) * _UNPACKED / _STORED
    except (OSError, EOFError, ValueError, RuntimeError, gzip.BadGzipFile, nib.filebasedimages.ImageFileError,
            InputError):  # fmt: skip
        return 0  # reading it says what is wrong
    shape, sides = found
    voxel = math.prod(sides)
    ratio = voxel / math.prod(spacing) if spacing and math.isfinite(voxel) and voxel > 0 else 1
    return math.prod(shape) * ratio


def _header(path: Path) -> tuple[Sequence[int], Sequence[float]] | None:
    """Shape and spacing of a volume; None for a DICOM series."""
    if path.is_dir() or not path.name.lower().endswith((*NIFTI_SUFFIXES, ".nrrd", ".nhdr", ".mha", ".mhd")):
        return None
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        header = nib.load(path).header
        return header.get_data_shape()[:3], [float(side) for side in header.get_zooms()[:3]]
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetSize()[:3], reader.GetSpacing()[:3]
