"""Whole slices of a scan, as a model that is shown slices takes them."""

from __future__ import annotations

import numpy as np
import slicer

from UncertaintySegLib.scene import flat, navigation, nodes
from UncertaintySegLib.scene.navigation import Box

_SAME = 1.05  # voxel sizes of a ratio up to this count as equal, as on the server
_UP = 2  # row of the matrix to RAS


def axis(scan: slicer.vtkMRMLScalarVolumeNode) -> int:
    """Return the axis of a scan's file that its slices follow: that of the thickest, from foot to head of cubes."""
    if flat.is_flat(scan):
        return 2
    steps = navigation.file_to_ras(scan)[:3, :3]
    sizes = np.linalg.norm(steps, axis=0)
    thickest = int(sizes.argmax())
    if sizes[thickest] > _SAME * np.delete(sizes, thickest).max():
        return thickest
    return int(np.abs(steps[_UP] / sizes).argmax())


def around(scan: slicer.vtkMRMLScalarVolumeNode, box: Box) -> Box:
    """Return the box of all whole slices that a box, IJK of the scan's file, touches."""
    along, last = axis(scan), [size - 1 for size in scan.GetImageData().GetDimensions()]
    low, high = [0, 0, 0], list(last)
    low[along], high[along] = box[0][along], box[1][along]
    return tuple(low), tuple(high)


def one(scan: slicer.vtkMRMLScalarVolumeNode, along: int, index: int) -> Box:
    """Return the box of a slice across an axis of the scan's file."""
    high = [size - 1 for size in scan.GetImageData().GetDimensions()]
    low = [0, 0, 0]
    low[along] = high[along] = index
    return tuple(low), tuple(high)


def voxels(scan: slicer.vtkMRMLScalarVolumeNode, along: int, index: int) -> tuple[slice | int, ...]:
    """Return what takes a slice across an axis of the scan's file out of an array `[K, J, I]` of its node."""
    if along == 2 and scan.GetAttribute(nodes.LEFT_HANDED):
        index = scan.GetImageData().GetDimensions()[2] - 1 - index
    return tuple(index if place == 2 - along else slice(None) for place in range(3))
