"""What encloses voxels: the inside of a closed curve on a slice, and boxes as regions of interest."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from UncertaintySegLib.scene.navigation import Ras, file_to_ras

_START = "UncertaintySeg.Start"
_THIN_MM = 0.01  # a region of interest without any depth cannot be dragged


def inside(corners: np.ndarray) -> np.ndarray:
    """Return the voxels inside a closed curve on a slice, as the server finds them (`lasso_voxels`).

    Args:
        corners: IJK `[n, 3]`, not rounded, on one plane.

    Returns:
        IJK `[m, 3]`, one deep along the axis that crosses the slice most; none for fewer than 3 corners.
    """
    if len(corners) < 3:
        return np.empty((0, 3), dtype=int)
    centre = corners.mean(axis=0)
    normal = np.linalg.svd(corners - centre, full_matrices=False)[2][2]
    depth = int(np.abs(normal).argmax())
    across = [axis for axis in range(3) if axis != depth]
    low = np.floor(corners[:, across].min(axis=0))
    places = np.argwhere(_grid_points_inside(corners[:, across] - low)) + low
    found = np.empty((len(places), 3))
    found[:, across] = places
    found[:, depth] = centre[depth] - (places - centre[across]) @ normal[across] / normal[depth]
    return np.floor(found + 0.5).astype(int)


def _grid_points_inside(corners: np.ndarray) -> np.ndarray:
    """Return the grid points inside a polygon `[n, 2]` from 0 on, by the even-odd rule, bool `[x, y]`.

    Each line of points along x meets only the edges that cross it.
    """
    shape = np.ceil(corners.max(axis=0)).astype(int) + 2
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    first, last = np.ceil(np.minimum(y0, y1)), np.ceil(np.maximum(y0, y1)) - 1
    counts = (last - first + 1).astype(int)
    edge = np.repeat(np.arange(len(corners)), counts)
    y = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = x0[edge] + (y - y0[edge]) / (y1[edge] - y0[edge]) * (x1[edge] - x0[edge])
    at = np.ravel_multi_index((np.ceil(x).astype(int).clip(0, shape[0] - 1), y.astype(int)), shape)
    crossed = np.cumsum(np.bincount(at, minlength=shape.prod()).reshape(shape), axis=0)
    return (crossed[-1] - crossed) % 2 == 1


def axes(scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the directions of a scan's voxels in RAS as columns `[3, 3]`, right-handed."""
    directions = file_to_ras(scan)[:3, :3]
    directions = directions / np.linalg.norm(directions, axis=0)
    if np.linalg.det(directions) < 0:
        directions[:, 2] *= -1  # a box is the same mirrored
    return directions


def draw_box(node: slicer.vtkMRMLMarkupsROINode, position: Ras, directions: np.ndarray) -> None:
    """Draw a box to a corner, from where it was begun, along `axes`: the first call begins it."""
    start = node.GetAttribute(_START)
    if start is None:
        node.SetAttribute(_START, " ".join(repr(float(value)) for value in position))
        return
    first, last = np.array([float(value) for value in start.split()]), np.array(position)
    to_node = np.eye(4)
    to_node[:3, :3], to_node[:3, 3] = directions, (first + last) / 2
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(to_node))
    node.SetSize(*np.maximum(np.abs((last - first) @ directions), _THIN_MM))


def corners(node: slicer.vtkMRMLMarkupsROINode) -> tuple[Ras, ...]:
    """Return two opposite corners of a box in mm (RAS); none of one that is not drawn yet."""
    half = np.array(node.GetSize()) / 2
    if not half.any():
        return ()
    to_world = vtk.vtkMatrix4x4()
    to_world.DeepCopy(node.GetObjectToWorldMatrix())
    ends = np.array([[*-half, 1.0], [*half, 1.0]]) @ slicer.util.arrayFromVTKMatrix(to_world).T
    return tuple(tuple(end) for end in ends[:, :3].tolist())
