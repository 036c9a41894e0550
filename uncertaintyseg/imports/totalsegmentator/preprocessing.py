"""A scan as TotalSegmentator hands it to nnU-Net: turned to RAS and resampled to whole numbers (NETWORKS 2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.imports.nnunet import preprocessing as nnunet


class Preprocess(nnunet.Preprocess):
    """nnU-Net's preprocessing of a scan that was resampled before.

    nnU-Net is told the spacing that was asked for, and by it decides on its own grid. The volume that comes out has the
    affine of where its voxels truly are: `ndimage.zoom` puts the first and the last voxel of the new grid onto those of
    the old. What is known there goes back to the scan by the nearest voxel, as TotalSegmentator's label does.

    Args:
        zoom_to: spacing to resample to, mm along x, y, z.
        options: of nnU-Net's preprocessing.
    """

    def __init__(self, zoom_to: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.zoom_to = tuple(zoom_to)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        scan = data["image"]
        if not isinstance(scan, MetaTensor):
            scan = read_scan(scan)
        data = super().__call__({**data, "image": scan})
        asked, true = self._affines(scan)
        for key in data.keys() & {"image", "label"}:
            volume = data[key]
            volume.affine = torch.from_numpy(true @ np.linalg.inv(asked) @ volume.affine.numpy())
        data["image"].meta["nearest_axes"] = (0, 1, 2)
        return data

    def _turned(self, scan: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
        array, affine = _canonical(scan[0].numpy().astype(np.float64), scan.affine.numpy())
        zoom = self._zoom(affine)
        if zoom is not None:
            array = ndimage.zoom(array, zoom, order=1, mode="nearest").astype(np.int32)
        zoomed = MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(self._affines(scan)[0]))
        return super()._turned(zoomed)

    def _label(self, case: Case, scan: MetaTensor) -> np.ndarray:
        label = self._drawn(case, scan)
        array, affine = _canonical(label[0].numpy().astype(np.int16), label.affine.numpy())
        zoom = self._zoom(affine)
        if zoom is not None:
            array = ndimage.zoom(array, zoom, order=0, mode="nearest")
        return array.transpose(self.axes).copy()

    def _zoom(self, affine: np.ndarray) -> np.ndarray | None:
        """New voxels for each old one along the axes; None where the scan has the spacing already."""
        spacing = np.float32(spacing_mm(affine))  # as a NIfTI header has it
        return None if np.array_equal(spacing, self.zoom_to) else spacing / np.array(self.zoom_to)

    def _affines(self, scan: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
        """Of the resampled scan: with the spacing that was asked for, and as its voxels truly lie."""
        turn = nib.io_orientation(scan.affine.numpy())
        old = np.array(scan.shape[1:])[np.argsort(turn[:, 0])]
        affine = scan.affine.numpy().astype(np.float64) @ nib.orientations.inv_ornt_aff(turn, scan.shape[1:])
        zoom = self._zoom(affine)
        if zoom is None:
            return affine, affine
        new = np.array([round(size * z) for size, z in zip(old, zoom, strict=True)])
        true = np.where(new > 1, (old - 1) / np.maximum(new - 1, 1), 1 / zoom)
        return affine @ np.diag([*(1 / zoom), 1.0]), affine @ np.diag([*true, 1.0])


def _canonical(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes turned and flipped to run closest to right, front and up."""
    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(array, turn)
    return np.asarray(turned), affine.astype(np.float64) @ nib.orientations.inv_ornt_aff(turn, array.shape)
