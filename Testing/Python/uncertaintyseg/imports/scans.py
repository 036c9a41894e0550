"""Scans and labels for imported networks: smooth lumps and noise, on any grid, with a border of zeros."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from uncertaintyseg.data.writing import write_volume


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: `codes` are the directions of the axes, as nibabel names them."""

    shape: tuple[int, int, int] = (20, 24, 18)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    codes: str = "LPS"
    border: int = 0

    @property
    def affine(self) -> np.ndarray:
        """Voxels to RAS mm."""
        affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(self.codes)), self.shape)
        affine = affine @ np.diag([*self.spacing, 1.0])
        affine[:3, 3] = (11.0, -7.0, 3.0)
        return affine


def write_case(folder: Path, grid: Grid, channels: int = 1, seed: int = 0, labels: int = 2) -> tuple[list[Path], Path]:
    """The files of a scan's channels, and of a label with the ids 0 to `labels`."""
    rng = np.random.default_rng(seed)
    files = []
    inside = np.zeros(grid.shape, bool)
    inside[tuple(slice(grid.border, size - grid.border) for size in grid.shape)] = True
    for channel in range(channels):
        lumps = gaussian_filter(rng.normal(size=grid.shape), 2.5)
        values = 120 + 900 * lumps + 15 * rng.normal(size=grid.shape)
        path = folder / f"case_{channel:04d}.nii.gz"
        write_volume(path, np.where(inside, np.round(values) + 0.5, 0).astype(np.float32), grid.affine)
        files.append(path)
    field = gaussian_filter(rng.normal(size=grid.shape), 2.0)
    label = np.digitize(field, np.quantile(field, np.linspace(0.6, 0.9, labels))).astype(np.uint8)
    write_volume(folder / "case.nii.gz", label * inside, grid.affine)
    return files, folder / "case.nii.gz"
