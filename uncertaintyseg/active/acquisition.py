"""One number a case: how much it would pay to look at it. Higher is more urgent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

NEAR_MM = 3.0


def entropy_near_foreground(
    entropy: np.ndarray, label: np.ndarray, spacing: Sequence[float], near_mm: float = NEAR_MM
) -> float:
    """Mean predictive entropy (nats) within `near_mm` of the predicted foreground, itself included.

    A mean over the whole volume would mostly measure how large the structure is. Where nothing was predicted it is
    the mean over the volume.

    Args:
        entropy: `[*S]`.
        label: predicted class ids `[*S]`.
        spacing: of the voxels in mm.
        near_mm: how far beyond the foreground to look.
    """
    foreground = label > 0
    if not foreground.any():
        return float(entropy.mean(dtype=np.float64))
    box = []
    for axis, step in enumerate(spacing):
        hit = np.flatnonzero(foreground.any(axis=tuple(a for a in range(foreground.ndim) if a != axis)))
        reach = int(np.ceil(near_mm / step))
        box.append(slice(max(int(hit[0]) - reach, 0), int(hit[-1]) + reach + 1))
    cut = tuple(box)
    near = distance_transform_edt(~foreground[cut], sampling=spacing) <= near_mm
    return float(entropy[cut][near].mean(dtype=np.float64))
