"""A scan as the one file that can be handed on: those of several files are converted to NIfTI."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.writing import write_volume


def as_one_file(path: Path, stem: str, folder: Path) -> Path:
    """Return the scan itself where it is one file, else a NIfTI copy.

    Args:
        path: file, header of a detached volume, or folder of a DICOM series.
        stem: name of the copy, without its ending.
        folder: where the copy goes.

    Raises:
        InputError: The scan cannot be read.
    """
    if scan_files(path) == [path]:
        return path
    scan, copy = read_scan(path), folder / f"{stem}.nii.gz"
    write_volume(copy, scan[0].numpy(), scan.affine.numpy(), about=scan.meta)
    return copy
