"""Risk only where it matters: inside a structure, or close to it."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from UncertaintySegLib.scene import masks, nodes

ROLE = "restricted map"
INSIDE, NEAR, BORDER = "inside", "near", "border"


def place(structure: np.ndarray, spacing: tuple[float, float, float], where: str, reach_mm: float) -> np.ndarray:
    """Return which voxels belong to a place.

    Args:
        structure: Where the structure is, bool `[K, J, I]`.
        spacing: mm from voxel to voxel along K, J and I.
        where: `INSIDE` the structure, `NEAR` it (inside and `reach_mm` around), or at its `BORDER` (`reach_mm` to
            both sides).
        reach_mm: How far from it, between centres of voxels.
    """
    if where == INSIDE:
        return structure
    margin = tuple(int(np.ceil(reach_mm / step)) + 1 for step in spacing)
    box = masks.box_around(structure, margin)
    found = np.zeros_like(structure)
    if box is not None:
        inside = structure[box]
        found[box] = _within(inside, spacing, reach_mm)
        if where == BORDER:
            found[box] &= _within(~inside, spacing, reach_mm)
    return found


def _within(mask: np.ndarray, spacing: tuple[float, float, float], reach_mm: float) -> np.ndarray:
    """Return which voxels are at most `reach_mm` from one of the mask.

    Exact, unlike `vtkImageEuclideanDistance` on voxels that are no cubes; axis by axis on slices that fit the cache.
    """
    squares = np.where(mask, np.float32(0), np.float32(np.inf))
    for k in range(mask.shape[0]):
        along_i = _spread(squares[k].T.copy(), spacing[2], reach_mm)
        squares[k] = _spread(along_i.T.copy(), spacing[1], reach_mm)
    for j in range(mask.shape[1]):
        squares[:, j] = _spread(squares[:, j].copy(), spacing[0], reach_mm)
    return squares <= reach_mm**2 * (1 + 1e-6)


def _spread(squares: np.ndarray, step_mm: float, reach_mm: float) -> np.ndarray:
    """Return the least squared distance by way of any voxel along the first axis, `[N, M]`."""
    found = squares.copy()
    for steps in range(1, int(reach_mm / step_mm) + 1):
        further = np.float32((steps * step_mm) ** 2)
        np.minimum(found[steps:], squares[:-steps] + further, out=found[steps:])
        np.minimum(found[:-steps], squares[steps:] + further, out=found[:-steps])
    return found


class RestrictedMap:
    """A copy of the shown map that is zero outside a place; the map itself keeps all its voxels.

    Args:
        scene: Where the copy goes.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.volume: slicer.vtkMRMLScalarVolumeNode | None = None

    @property
    def is_there(self) -> bool:
        """Whether the node is in the scene."""
        there = self.volume is not None and self.volume.GetScene() is self.scene
        return there and self.volume.GetDisplayNode() is not None

    def update(self, risk: slicer.vtkMRMLScalarVolumeNode, where: np.ndarray) -> slicer.vtkMRMLScalarVolumeNode:
        """Take the voxels of a map where `where`, bool `[K, J, I]`, is true; returns the node."""
        if not self.is_there:
            self.volume = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{risk.GetName()} in its place")
            nodes.mark_private(self.volume, risk.GetAttribute(nodes.CASE), ROLE)
            self.volume.CreateDefaultDisplayNodes()
        values = slicer.util.arrayFromVolume(risk)
        kept = np.zeros_like(values)
        box = masks.box_around(where)
        if box is not None:
            np.multiply(values[box], where[box], out=kept[box])
        slicer.util.updateVolumeFromArray(self.volume, kept)
        ijk_to_ras = vtk.vtkMatrix4x4()
        risk.GetIJKToRASMatrix(ijk_to_ras)
        self.volume.SetIJKToRASMatrix(ijk_to_ras)
        self.volume.SetAndObserveTransformNodeID(risk.GetTransformNodeID())
        return self.volume

    def clear(self) -> None:
        """Remove it from the scene."""
        for node in nodes.marked(self.scene, ROLE):
            nodes.remove(self.scene, node)
        self.volume = None
