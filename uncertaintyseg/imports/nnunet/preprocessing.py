"""A scan on an nnU-Net's grid: turned, cropped, normalised and resampled in nnU-Net's order (NETWORKS 1.6)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import binary_fill_holes, find_objects

from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.time_axis import check_dimensions
from uncertaintyseg.data.transforms import labelled_case
from uncertaintyseg.imports.nnunet.normalization import normalise
from uncertaintyseg.imports.nnunet.plans import Resampling
from uncertaintyseg.imports.nnunet.resampling import (
    new_shape,
    resample_image,
    resample_label,
    resampled_affine,
    separate_axis,
)

_OUTSIDE = -1
"""What the background outside the non-zero part is while a label is resampled, as nnU-Net has it."""


class Preprocess(MapTransform):
    """The scan under "image" (files, or a scan already read) and, where present, its label under "label".

    What comes out has the axes of the network's grid, with an affine from there to RAS mm, and says under
    `meta["nearest_axes"]` along which of them nothing may be interpolated on the way back.

    Args:
        labels: name to class id of the structures.
        spacing: of the grid, mm.
        transpose: axes of the stored array (z, y, x) that those of the grid run along.
        to_ras: turn the scan to RAS first; else its axes are taken as they are stored.
        schemes: name of a normalisation for each channel.
        masked: for each channel, whether it is normalised within its non-zero part alone.
        intensities: by number of the channel, statistics that CTNormalization needs.
        data: how scans are resampled, as of `plans.Resampling`.
        segmentation: how labels are.
        probabilities: how what the network says is brought back.
        ignore: number that marks voxels of a label as not labelled; `case_labels.IGNORED` in what comes out.

    Attributes:
        reading: how labels are read, `ignore` and `values` of `read_case_label`: a model says so in its metadata.

    Raises:
        InputError: for a file that cannot be used; the message names it.
    """

    def __init__(
        self,
        labels: Mapping[str, int],
        spacing: Sequence[float],
        transpose: Sequence[int],
        to_ras: bool,
        schemes: Sequence[str],
        masked: Sequence[bool],
        intensities: Mapping[str, Mapping[str, float]],
        data: Mapping[str, Any],
        segmentation: Mapping[str, Any],
        probabilities: Mapping[str, Any],
        ignore: int | None = None,
    ) -> None:
        super().__init__(("image", "label"), allow_missing_keys=True)
        self.labels, self.spacing, self.ignore = dict(labels), tuple(spacing), ignore
        self.reading: dict[str, Any] = {}
        self.dimensions = 3
        self.axes = [2 - axis for axis in transpose]  # stored arrays are z, y, x, ours x, y, z
        self.to_ras, self.schemes, self.masked, self.intensities = to_ras, schemes, masked, intensities
        self.data, self.segmentation = Resampling(**data), Resampling(**segmentation)
        self.probabilities = Resampling(**probabilities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        scan = data["image"]
        if not isinstance(scan, MetaTensor):
            scan = read_channels(scan, len(self.schemes))
        check_dimensions(scan, self.dimensions)
        image, affine = self._turned(scan)
        mask = binary_fill_holes((image != 0).any(0))
        box = find_objects(mask.astype(np.uint8))[0]
        corner = np.eye(4)
        corner[:3, 3] = [part.start for part in box]
        affine = affine @ corner
        cropped, mask = image[(slice(None), *box)].copy(), mask[box]
        spacing, old = spacing_mm(affine), cropped.shape[1:]
        shape = new_shape(old, spacing, self.spacing)
        cropped = normalise(cropped, mask, self.schemes, self.masked, self.intensities)
        grid = resampled_affine(affine, old, shape)
        volume = _meta_tensor(resample_image(cropped, shape, spacing, self.spacing, self.data), grid, scan)
        nearest = separate_axis(self.probabilities, self.spacing, spacing)
        volume.meta["nearest_axes"] = () if nearest is None else (nearest,)
        data["image"] = volume
        if "label" in data:
            label = self._label(labelled_case({**data, "image": scan}), scan)[box]
            data = {key: value for key, value in data.items() if key not in ("verified", "own_ids")}
            unknown = max(self.labels.values()) + 1  # a class of its own while it is resampled
            label[label == IGNORED] = unknown
            label[(label == 0) & ~mask] = _OUTSIDE
            label = resample_label(label, shape, spacing, self.spacing, self.segmentation)
            label[label == _OUTSIDE] = 0
            label[label == unknown] = IGNORED
            data["label"] = _meta_tensor(label[None], grid, scan)
        return data

    def _turned(self, scan: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
        """The scan `[channels, *grid axes]` before any resampling, and its affine."""
        array = scan.as_tensor().numpy().astype(np.float32, copy=False)
        affine = scan.affine.numpy().astype(np.float64)
        if self.to_ras:
            array, affine = _to_ras(array, affine)
        stored = np.ascontiguousarray(array.transpose(0, 3, 2, 1))  # statistics in nnU-Net's order of summation
        turned = stored.transpose(0, *(3 - axis for axis in self.axes))
        return turned, affine[:, [*self.axes, 3]]

    def _label(self, case: Case, scan: MetaTensor) -> np.ndarray:
        """Class ids and `IGNORED`, int16 with the grid's axes, before any resampling."""
        like = MetaTensor(scan.as_tensor()[:1], affine=scan.affine, meta={"filename_or_obj": str(case.image)})
        label = self._drawn(case, like)
        array, affine = label.as_tensor().numpy().astype(np.int16), label.affine.numpy().astype(np.float64)
        if self.to_ras:
            array, _ = _to_ras(array, affine)
        return array[0].transpose(self.axes).copy()

    def _drawn(self, case: Case, like: MetaTensor) -> MetaTensor:
        """Class ids and `IGNORED` as they are stored."""
        said = {name: value for name, value in self.reading.items() if value is not None}
        return read_case_label(case, self.labels, like=like, **{"ignore": self.ignore, **said})


def _to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes turned and flipped, none interpolated, so that they run closest to right, front and up."""
    turn = nib.io_orientation(affine)
    shape = array.shape[1:]
    turned = np.stack([nib.apply_orientation(channel, turn) for channel in array])
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, shape)


def _meta_tensor(array: np.ndarray, affine: np.ndarray, scan: MetaTensor) -> MetaTensor:
    meta = {"filename_or_obj": scan.meta["filename_or_obj"], "space": "RAS"}
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(array)), affine=torch.as_tensor(affine, dtype=torch.float64), meta=meta
    )
