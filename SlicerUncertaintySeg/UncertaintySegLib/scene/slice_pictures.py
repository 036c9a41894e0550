"""Small pictures of slices of a scan with their label, turned as people look at them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer

from UncertaintySegLib.scene import flat, nodes, whole_slices

_LOOK = {0: (2, 1), 1: (2, 0), 2: (1, 0)}
"""Of a slice across right, anterior or superior: the direction that is up in the picture, and the one that is left."""
_INK = 0.45
"""Of a structure's colour inside of its border, which is all of it."""


def picture(
    scan: slicer.vtkMRMLScalarVolumeNode,
    ids: np.ndarray,
    along: int,
    index: int,
    colors: Mapping[int, tuple[float, float, float]],
    side: int,
) -> np.ndarray:
    """Return a slice in the scan's window, its structures in their colours.

    Args:
        scan: Of one value a voxel.
        ids: Label id of each voxel, `[K, J, I]` as `segments.label_ids` returns them.
        along: Axis of the scan's file that the slice lies across.
        index: Its voxel on that axis.
        colors: Of each label id, in [0, 1].
        side: Pixels of the longer side; voxels keep their proportion in mm.

    Returns:
        Red, green and blue, uint8 `[rows, columns, 3]`: anterior or superior is up, the patient's right (of a sagittal
        slice anterior) is left; images are as they are stored.
    """
    place = whole_slices.voxels(scan, along, index)
    values, labels = slicer.util.arrayFromVolume(scan)[place].astype(float), ids[place]
    values, labels, sizes = _turned(scan, along, values, labels)
    rows, columns = _pixels(np.array(values.shape), sizes, side)
    grey, labels = _in_window(scan, values)[np.ix_(rows, columns)], labels[np.ix_(rows, columns)]
    drawn = np.repeat(grey[..., None], 3, axis=2)
    for label, color in colors.items():
        inside = labels == label
        share = np.where(_border(inside), 1.0, _INK)[..., None]
        drawn = np.where(inside[..., None], share * np.array(color) + (1 - share) * drawn, drawn)
    return (255 * drawn).round().astype(np.uint8)


def _turned(
    scan: slicer.vtkMRMLScalarVolumeNode, along: int, values: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn a slice `[higher axis, lower axis]` to rows and columns; and how long a voxel is along both, mm."""
    steps = nodes.ijk_to_ras(scan)[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    across = [axis for axis in (2, 1, 0) if axis != along]
    sizes = lengths[across]
    if flat.is_flat(scan):
        return values, labels, sizes
    towards = steps / lengths
    up, left = _LOOK[int(np.abs(towards[:, along]).argmax())]
    row, column = across
    if abs(towards[up, column]) > abs(towards[up, row]):
        values, labels, sizes, row, column = values.T, labels.T, sizes[::-1], column, row
    flips = tuple(slice(None, None, -1 if towards[way, axis] > 0 else 1) for way, axis in ((up, row), (left, column)))
    return values[flips], labels[flips], sizes


def _pixels(shape: np.ndarray, sizes: np.ndarray, side: int) -> list[np.ndarray]:
    """Return which voxel each row, and each column, of the picture shows."""
    extents = shape * sizes
    counts = np.maximum(1, np.round(side * extents / extents.max())).astype(int)
    return [((np.arange(count) + 0.5) * size / count).astype(int) for count, size in zip(counts, shape)]


def _in_window(scan: slicer.vtkMRMLScalarVolumeNode, values: np.ndarray) -> np.ndarray:
    """Return grey values in [0, 1], as the views show them."""
    display = scan.GetScalarVolumeDisplayNode()
    low, high = (display.GetWindowLevelMin(), display.GetWindowLevelMax()) if display is not None else (0.0, 0.0)
    if not high > low:
        low, high = values.min(), values.max()
    return np.clip((values - low) / (high - low if high > low else 1.0), 0.0, 1.0)


def _border(inside: np.ndarray) -> np.ndarray:
    """Return the pixels of an area that lie beside another one, or at the picture's edge."""
    around = np.pad(inside, 1)
    return inside & ~(around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:])
