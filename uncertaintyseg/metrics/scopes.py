"""Which voxels an error detector is judged on. With everything counted, most voxels are trivially right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from uncertaintyseg.metrics.arrays import bounding_box, check_shapes
from uncertaintyseg.metrics.frames import by_frame

BOUNDARY_MM = 3.0
_DARK = 0.1
_CROP = 0.05


def error_scopes(
    image: np.ndarray, reference: np.ndarray, spacing: Sequence[float], *, clip: bool = False
) -> dict[str, np.ndarray | None]:
    """The scopes `all` (None: every voxel), `body` (with all of the reference) and `boundary`; no model changes them.

    Args:
        image: `[*S]`.
        reference: class ids `[*S]`.
        spacing: voxel size along each axis in mm.
        clip: the third axis is time: of each frame alone.

    Raises:
        InputError: when the shapes differ.
    """
    check_shapes("the image", image.shape, reference.shape)
    body = by_frame(body_mask, image, clip=clip) | (reference > 0)
    boundary = by_frame(lambda frame: boundary_band(frame, spacing), reference, clip=clip)
    return {"all": None, "body": body, "boundary": boundary}


def body_mask(image: np.ndarray) -> np.ndarray:
    """What is not air around the patient, bool `[*S]`.

    Air is what lies within the lowest tenth of the intensities (from the 0.5th to the 99.5th percentile) and touches
    the border of the volume through such voxels. If that is less than a twentieth of the volume the scan is a crop, and
    all of it is body, as it is of a constant image.
    """
    flat = image.reshape(-1)
    low, high = np.percentile(flat[:: max(1, flat.size >> 20)], [0.5, 99.5])
    parts, count = label(image <= low + _DARK * (high - low))
    touching = np.zeros(count + 1, bool)
    for axis in range(image.ndim):
        touching[parts.take([0, -1], axis)] = True
    touching[0] = False
    air = touching[parts]
    return ~air if _CROP <= air.mean() < 1 else np.ones_like(air)


def boundary_band(reference: np.ndarray, spacing: Sequence[float], within_mm: float = BOUNDARY_MM) -> np.ndarray:
    """Voxels whose centre is at most `within_mm` from one at a border between two classes, bool `[*S]`.

    At a border is a voxel with a face neighbour of another class, on either side; the border of the volume is none. So
    the band is never thinner than the voxels on both sides, however large they are, and empty only without a border.

    Args:
        reference: class ids `[*S]`.
        spacing: voxel size along each axis in mm; the axes are taken as perpendicular.
        within_mm: half the width of the band.
    """
    border = np.zeros(reference.shape, bool)
    for axis in range(reference.ndim):
        first = tuple(slice(None, -1) if a == axis else slice(None) for a in range(reference.ndim))
        second = tuple(slice(1, None) if a == axis else slice(None) for a in range(reference.ndim))
        changes = reference[first] != reference[second]
        border[first] |= changes
        border[second] |= changes
    box = bounding_box(border, spacing, within_mm)
    if box is not None:
        border[box] = distance_transform_edt(~border[box], sampling=spacing) <= within_mm + 1e-6
    return border
