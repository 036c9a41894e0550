"""Sample data that needs no download: a simulated abdomen, and a label of it with a fault to find."""

from __future__ import annotations

import numpy as np
import slicer

from UncertaintySegLib.scene.segments import LABEL_ID

SCAN_NAME = "UncertaintySegPhantom"
LABEL_NAME = "UncertaintySegPhantomLabel"

_SHAPE = (32, 64, 64)  # k, j, i
_SPACING = (1.5, 1.5, 3.0)  # mm, i j k
_NOISE_HU = 15.0
_STRUCTURES = {"organ": (1, (0.35, 0.78, 0.43)), "lesion": (2, (0.31, 0.59, 1.0))}


def phantom(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a scan and its label.

    Args:
        seed: Of the noise.

    Returns:
        Hounsfield units, float32 `[K, J, I]`, and label ids, uint8: 1 organ, 2 lesion.
    """
    k, j, i = (np.arange(size, dtype=np.float32) - (size - 1) / 2 for size in _SHAPE)
    x, y, z = i * _SPACING[0], j[:, None] * _SPACING[1], k[:, None, None] * _SPACING[2]

    def ellipsoid(center: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """How far outside of it, in units of about a mm."""
        parts = ((axis - c) / r for axis, c, r in zip((x, y, z), center, radii))
        return (np.sqrt(sum(part**2 for part in parts)) - 1) * min(radii)

    organ = np.minimum(ellipsoid((17, 0, 0), (19, 22, 38)), ellipsoid((-10, 12, 4), (19, 12, 30)))
    organ = organ + 2 * np.sin(y / 9) * np.cos(z / 11)
    lesion = ellipsoid((18, -8, 6), (8, 10, 11))
    long = 1e3  # a body goes on above and below the scan
    scan = np.full(_SHAPE, -1000, np.float32)
    for distance, tissue in (
        (ellipsoid((0, 0, 0), (45, 38, long)), -100.0),
        (ellipsoid((0, 0, 0), (43, 36, long)), 50.0),
        (ellipsoid((0, 0, 0), (38, 31, long)), -100.0),
        (ellipsoid((0, -30, 0), (16, 10, long)), 50.0),
        (ellipsoid((0, -22, 0), (9, 8, long)), 420.0),
        (ellipsoid((0, -22, 0), (7, 6, long)), 190.0),
        (ellipsoid((-20, -14, 0), (8, 8, 30)), 175.0),
        (ellipsoid((-22, -1, 0), (9, 7, 36)), 104.0),  # a neighbour of nearly the organ's density
        (organ, 110.0),
        (lesion, 62.0),
    ):
        share = 1 / (1 + np.exp(np.clip(distance / 0.5, -30, 30)))
        scan += share * (tissue - scan)
    scan += np.random.default_rng(seed).normal(0, _NOISE_HU, _SHAPE)
    label = np.where(lesion < 0, 2, np.where(organ < 0, 1, 0)).astype(np.uint8)
    return np.maximum(np.rint(scan), -1024).astype(np.float32), label


def load_phantom(_source: object = None) -> list[slicer.vtkMRMLNode]:
    """Show the scan, with a segmentation of it that lacks a piece of the organ.

    Returns:
        The volume and the segmentation.
    """
    scan, label = phantom()
    volume = slicer.util.addVolumeFromArray(scan, nodeClassName="vtkMRMLScalarVolumeNode", name=SCAN_NAME)
    volume.SetSpacing(*_SPACING)
    volume.SetOrigin(*(-spacing * (size - 1) / 2 for spacing, size in zip(_SPACING, reversed(_SHAPE))))
    volume.CreateDefaultDisplayNodes()
    volume.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
    volume.GetScalarVolumeDisplayNode().SetWindowLevel(400.0, 40.0)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    label[18:25, 34:46, 14:26] = 0
    return [volume, _segmentation(label, volume)]


def _segmentation(label: np.ndarray, volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", LABEL_NAME)
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, (label_id, color) in _STRUCTURES.items():
        segment_id = segmentation.GetSegmentation().AddEmptySegment("", name)
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        segment.SetColor(*color)
        segment.SetTag(LABEL_ID, str(label_id))
        mask = (label == label_id).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, volume)
    return segmentation
