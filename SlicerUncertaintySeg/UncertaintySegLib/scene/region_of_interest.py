"""The box of a scan that a model is to look at: a markups ROI that the user moves, and its voxels."""

from __future__ import annotations

from itertools import product

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import navigation, nodes

ROLE = "region of interest"
_SHARE = 0.5  # of the scan, along each axis, that a new region takes


class RegionOfInterest:
    """A box in the scene, along the axes of the scan unless somebody turns it, shown while it is wanted.

    Args:
        scene: Where it is.

    Attributes:
        node: The markups ROI; None before the first.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.node: slicer.vtkMRMLMarkupsROINode | None = None

    def show(self, case: str, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show the box; a new one lies in the middle of the scan."""
        if self.node is None or self.node.GetScene() is not self.scene:
            self.node = self._new(case, scan)
        self.node.SetDisplayVisibility(True)

    def hide(self) -> None:
        """Take it out of the views; it stays where it is."""
        if self.node is not None and self.node.GetScene() is self.scene:
            self.node.SetDisplayVisibility(False)

    def remove(self) -> None:
        """Forget it, for it was of another scan."""
        if self.node is not None and self.node.GetScene() is self.scene:
            self.scene.RemoveNode(self.node)
        self.node = None

    def voxels(self, scan: slicer.vtkMRMLScalarVolumeNode) -> list[list[int]]:
        """Return first voxel and one after the last along I, J and K of the scan's file: all that the box touches.

        A box that is turned gets the least upright one around it.

        Raises:
            SceneError: There is no box, or it does not touch the scan.
        """
        if self.node is None or self.node.GetScene() is not self.scene:
            raise SceneError(_("The region of interest is no longer in the scene: switch it off and on again."))
        to_world = vtk.vtkMatrix4x4()
        to_world.DeepCopy(self.node.GetObjectToWorldMatrix())
        half = np.array(self.node.GetSize()) / 2
        corners = np.array([[*(np.array(signs) * half), 1.0] for signs in product((-1, 1), repeat=3)])
        ras = corners @ slicer.util.arrayFromVTKMatrix(to_world).T
        ijk = (ras @ np.linalg.inv(navigation.file_to_ras(scan)).T)[:, :3]
        size = np.array(scan.GetImageData().GetDimensions())
        low = np.clip(np.floor(ijk.min(axis=0) + 0.5 + 1e-6), 0, size).astype(int)
        high = np.clip(np.ceil(ijk.max(axis=0) + 0.5 - 1e-6), 0, size).astype(int)
        if (low >= high).any():
            raise SceneError(_("The region of interest does not touch the scan: move it there, or switch it off."))
        return [[int(first), int(last)] for first, last in zip(low, high)]

    def _new(self, case: str, scan: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLMarkupsROINode:
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", _("{case} region to run on").format(case=case))
        nodes.mark_private(node, case, ROLE)
        node.CreateDefaultDisplayNodes()
        to_ras, size = navigation.file_to_ras(scan), np.array(scan.GetImageData().GetDimensions())
        voxel = np.linalg.norm(to_ras[:3, :3], axis=0)
        axes = np.eye(4)
        axes[:3, :3] = to_ras[:3, :3] / voxel
        axes[:3, 3] = (to_ras @ [*((size - 1) / 2), 1.0])[:3]
        if np.linalg.det(axes[:3, :3]) < 0:
            axes[:3, 2] *= -1  # a box is the same mirrored
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(axes))
        node.SetSize(*(_SHARE * size * voxel))
        display = node.GetDisplayNode()
        if display is not None:
            display.SetFillOpacity(0.0)
            display.SetPropertiesLabelVisibility(False)
        return node
