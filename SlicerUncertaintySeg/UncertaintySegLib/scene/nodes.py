"""Files to volume nodes and back, and nodes that know which case they belong to."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from UncertaintySegLib.errors import SceneError

CASE = "UncertaintySeg.Case"
ROLE = "UncertaintySeg.Role"
LEFT_HANDED = "UncertaintySeg.LeftHandedFile"


def read_volume(
    scene: slicer.vtkMRMLScene, path: Path, name: str, labels: bool = False, window: bool = True
) -> slicer.vtkMRMLVolumeNode:
    """Read an image file into a new volume node, a scan or map with a display node.

    Scaled NIfTI (`scl_slope`) arrives as floats. A grid whose axes are left-handed, as those of many NIfTI files are,
    gets its slices in opposite order, for Slicer's surfaces and volume rendering need right-handed ones; the node
    then carries the attribute `LEFT_HANDED`. The node does not stay tied to the file, which may be a download
    that will vanish: Slicer saves the voxels with the scene instead.

    Args:
        scene: Where the node goes.
        path: NIfTI, NRRD, MetaImage or another file that ITK reads.
        name: Name of the node.
        labels: Read into a label map volume, without a display node.
        window: Look for a window that suits the voxels, which takes a while.

    Raises:
        SceneError: If the file is not an image that can be read. The scene is then as before.
    """
    volume = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode", name)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if hasattr(storage, "ForceRightHandedIJKCoordinateSystemOff"):
        storage.ForceRightHandedIJKCoordinateSystemOff()  # `_flip` does the same, in every Slicer, and remembers it
    storage.SetSingleFile(True)  # neighbours with similar names are other cases, not other slices
    image = volume.GetImageData() if path.is_file() and storage.ReadData(volume) else None
    if image is None or 0 in image.GetDimensions():
        scene.RemoveNode(volume)
        raise SceneError(f"{path} cannot be read as an image: is it complete?")
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijk_to_ras)
    if ijk_to_ras.Determinant() < 0:
        _flip(volume)
        volume.SetAttribute(LEFT_HANDED, "1")
    if not labels:
        _add_display(volume, window)
    return volume


def reread_volume(volume: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Put the voxels of another file into a volume node; its display stays as it is.

    Raises:
        SceneError: If the file is not an image that can be read. The volume is then as before.
    """
    scene = volume.GetScene()
    other = read_volume(scene, path, path.name, window=False)
    ijk_to_ras = vtk.vtkMatrix4x4()
    other.GetIJKToRASMatrix(ijk_to_ras)
    left_handed = other.GetAttribute(LEFT_HANDED)
    voxels = other.GetImageData()
    remove(scene, other)
    volume.SetAndObserveImageData(voxels)
    volume.SetIJKToRASMatrix(ijk_to_ras)
    if left_handed:
        volume.SetAttribute(LEFT_HANDED, left_handed)
    else:
        volume.RemoveAttribute(LEFT_HANDED)


def write_volume(volume: slicer.vtkMRMLVolumeNode, path: Path) -> None:
    """Write a volume node to a file, which appears only when it is whole.

    A volume marked as `LEFT_HANDED` is turned to the order of slices of the file that it stands for.

    Raises:
        SceneError: If the file cannot be written. A file that was there before stays as it was.
    """
    if volume.GetAttribute(LEFT_HANDED):
        _flip(volume)
        volume.RemoveAttribute(LEFT_HANDED)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    refusal = f"{path} cannot be written: is the disk full?"
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            storage.SetFileName(str(draft))
            if not storage.WriteData(volume):
                raise SceneError(refusal)
            os.replace(draft, path)
    except OSError as error:
        raise SceneError(refusal) from error


def same_grid(first: slicer.vtkMRMLVolumeNode, second: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether the voxels of both lie at the same places, to a thousandth of a mm, in either order of slices."""
    if first.GetImageData().GetDimensions() != second.GetImageData().GetDimensions():
        return False
    last = second.GetImageData().GetDimensions()[2] - 1
    reversed_slices = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, last], [0, 0, 0, 1]])
    grid, other = ijk_to_ras(first), ijk_to_ras(second)
    return any(np.allclose(grid, same, atol=1e-3) for same in (other, other @ reversed_slices))


def ijk_to_ras(volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return where a volume's voxels lie: the 4 x 4 matrix from voxel indices `(i, j, k, 1)` to mm."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _add_display(volume: slicer.vtkMRMLScalarVolumeNode, window: bool) -> None:
    if window:
        volume.CreateDefaultDisplayNodes()
        return
    display = volume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.AutoWindowLevelOff()
    display.SetDefaultColorMap()
    volume.SetAndObserveDisplayNodeID(display.GetID())


def _flip(volume: slicer.vtkMRMLVolumeNode) -> None:
    """Reverse the order of slices, each staying where it is in space."""
    voxels = slicer.util.arrayFromVolume(volume)
    last = [0.0, 0.0, voxels.shape[0] - 1.0, 1.0]
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijk_to_ras)
    origin = ijk_to_ras.MultiplyPoint(last)
    for row in range(3):
        ijk_to_ras.SetElement(row, 2, -ijk_to_ras.GetElement(row, 2))
        ijk_to_ras.SetElement(row, 3, origin[row])
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(voxels[::-1]))
    volume.SetIJKToRASMatrix(ijk_to_ras)


def mark(node: slicer.vtkMRMLNode, case: str, role: str) -> None:
    """Write on a node which case it belongs to and as what ("scan", "segmentation" or "map")."""
    node.SetAttribute(CASE, case)
    node.SetAttribute(ROLE, role)


def describe(node: slicer.vtkMRMLNode, case: str, role: str, provenance: Mapping[str, Any]) -> None:
    """Mark a node that came from a model, and write on it which model, weights and seed that was."""
    mark(node, case, role)
    node.SetAttribute("UncertaintySeg.Provenance", json.dumps(provenance, sort_keys=True))
    names = {"Model": "model", "Head": "head", "WeightsChecksum": "weights_checksum", "Seed": "seed"}
    for key, field in names.items():
        if field in provenance:
            node.SetAttribute(f"UncertaintySeg.{key}", str(provenance[field]))


def mark_private(node: slicer.vtkMRMLNode, case: str, role: str) -> None:
    """Mark a node that only we use: no list offers it, and it is not saved, for it can be made again."""
    mark(node, case, role)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)


def marked(scene: slicer.vtkMRMLScene, role: str | None = None) -> list[slicer.vtkMRMLNode]:
    """Return the nodes in the scene that `mark` wrote on, optionally of one role."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if node.GetAttribute(CASE) and role in (None, node.GetAttribute(ROLE))]


def display(node: slicer.vtkMRMLDisplayableNode) -> slicer.vtkMRMLDisplayNode:
    """Return how a node is displayed; in Slicer's default way again where somebody has deleted that."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()


def remove(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node with the display nodes (legend included) and storage node that only it uses."""
    companions = []
    if node.IsA("vtkMRMLDisplayableNode"):
        companions += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        companions.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is scene:
            scene.RemoveNode(companion)
