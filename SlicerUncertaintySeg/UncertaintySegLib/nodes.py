"""Files to volume nodes and back, and nodes that know which case they belong to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import slicer

from UncertaintySegLib.errors import SceneError

CASE = "UncertaintySeg.Case"
ROLE = "UncertaintySeg.Role"


def read_volume(scene: slicer.vtkMRMLScene, path: Path, name: str, labels: bool = False) -> slicer.vtkMRMLVolumeNode:
    """Read an image file into a new volume node with a display node.

    Scaled NIfTI (`scl_slope`) arrives as floats. The node does not stay tied to the file, which may be a download
    that will vanish: Slicer saves the voxels with the scene instead.

    Args:
        scene: Where the node goes.
        path: NIfTI, NRRD, MetaImage or another file that ITK reads.
        name: Name of the node.
        labels: Read into a label map volume.

    Raises:
        SceneError: If the file is not an image that can be read. The scene is then as before.
    """
    volume = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode", name)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetSingleFile(True)  # neighbours with similar names are other cases, not other slices
    image = volume.GetImageData() if path.is_file() and storage.ReadData(volume) else None
    if image is None or 0 in image.GetDimensions():
        scene.RemoveNode(volume)
        raise SceneError(f"{path} cannot be read as an image: is it complete?")
    volume.CreateDefaultDisplayNodes()
    return volume


def write_volume(volume: slicer.vtkMRMLVolumeNode, path: Path) -> None:
    """Write a volume node to a file, which appears only when it is whole.

    Raises:
        SceneError: If the file cannot be written. A file that was there before stays as it was.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(draft))
        if not storage.WriteData(volume):
            raise SceneError(f"{path} cannot be written: is the disk full?")
        os.replace(draft, path)  # noqa: PTH105 - atomic, also where the target exists


def mark(node: slicer.vtkMRMLNode, case: str, role: str) -> None:
    """Write on a node which case it belongs to and as what ("scan", "segmentation" or "map")."""
    node.SetAttribute(CASE, case)
    node.SetAttribute(ROLE, role)


def marked(scene: slicer.vtkMRMLScene, role: str | None = None) -> list[slicer.vtkMRMLNode]:
    """Return the nodes in the scene that `mark` wrote on, optionally of one role."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if node.GetAttribute(CASE) and role in (None, node.GetAttribute(ROLE))]


def remove(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLDisplayableNode) -> None:
    """Remove a node with the display nodes (legend included) and storage node that only it uses."""
    companions = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    companions.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is scene:
            scene.RemoveNode(companion)
