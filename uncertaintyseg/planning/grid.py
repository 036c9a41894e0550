"""The grid that scans are resampled to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.fingerprint import Fingerprint

ANISOTROPIC = 3.0
"""Voxels are thick where their longest side is more than so many times the shortest (nnU-Net)."""
_FINER = 10
"""Percentile of the spacing along such an axis: the median would blur slices away that most scans have."""
_LEAST = 8
"""Voxels that at least two axes of a scan must have."""
_MOST = 2**33
"""Voxels of a scan: 32 GB a channel, when it is resampled."""


def target_spacing(spacings: np.ndarray, shapes: np.ndarray, *, flat: bool = False) -> tuple[float, float, float]:
    """Median of the spacings, and their 10th percentile along an axis of thick slices (nnU-Net).

    Args:
        spacings: `[N, 3]` of the cases, in mm.
        shapes: `[N, 3]`, in voxels.
        flat: of images and clips, whose third number stays 1.
    """
    target = np.median(spacings, axis=0)
    sizes = np.median(shapes, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    thick = not flat and target[worst] > ANISOTROPIC * target[others].max()
    few = sizes[worst] * ANISOTROPIC < sizes[others].min()
    if thick and few:
        target[worst] = max(np.percentile(spacings[:, worst], _FINER), target[others].max())
    return tuple(float(f"{value:.4g}") for value in target)


def median_shape(fingerprint: Fingerprint, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Of the scans, cropped to what is not 0, on a grid of so many mm; of images and clips one slice of them.

    Raises:
        InputError: a scan is too small for a network, or the usual one too large for any memory.
    """
    shapes = np.maximum(np.round(fingerprint.shapes * fingerprint.spacings / np.asarray(spacing)), 1)
    if fingerprint.flat:
        shapes[:, 2] = 1
    for case, shape in zip(fingerprint.cases, shapes, strict=True):
        if np.count_nonzero(shape >= _LEAST) < 2:
            size = " x ".join(str(int(side)) for side in shape)
            raise InputError(
                f"case {case.id}: its scan has {size} voxels of {' x '.join(f'{mm:g}' for mm in spacing)} "
                f"{fingerprint.unit}, and a "
                f"network needs {_LEAST} along two axes: take it out of the folder, or choose a finer --spacing."
            )
    usual = tuple(int(side) for side in np.round(np.median(shapes, axis=0)))
    if math.prod(usual) > _MOST:
        raise InputError(
            f"at voxels of {' x '.join(f'{mm:g}' for mm in spacing)} mm a usual scan has {' x '.join(map(str, usual))} "
            "of them, more than any memory holds: choose a coarser --spacing."
        )
    return usual
