"""Scans that are no volume: images, which have one slice, and clips, whose third axis is time."""

from __future__ import annotations

import slicer

from UncertaintySegLib.server.sizes import TIME

AXIS = "UncertaintySeg.Axis"
"""Attribute of a volume node; "time" of a clip: what the third axis of its voxels is."""
_SPACING_KNOWN = "UncertaintySeg.SpacingKnown"


def is_clip(volume: slicer.vtkMRMLVolumeNode | None) -> bool:
    """Return whether the slices of a volume are the frames of a clip."""
    return volume is not None and volume.GetAttribute(AXIS) == TIME


def is_flat(volume: slicer.vtkMRMLVolumeNode | None) -> bool:
    """Return whether a volume is an image or a clip."""
    return is_clip(volume) or (volume is not None and slices(volume) == 1)


def slices(volume: slicer.vtkMRMLVolumeNode) -> int:
    """Return how many slices a volume has, the frames of a clip; 0 without voxels."""
    return volume.GetImageData().GetDimensions()[2] if volume.GetImageData() is not None else 0


def set_clip(volume: slicer.vtkMRMLVolumeNode, clip: bool) -> None:
    """Say of a volume that its third axis is time, or is space."""
    if clip:
        volume.SetAttribute(AXIS, TIME)
    else:
        volume.RemoveAttribute(AXIS)


def spacing_known(volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether the spacing of a volume is in mm; nobody has said otherwise."""
    return volume.GetAttribute(_SPACING_KNOWN) != "0"


def set_spacing_known(volume: slicer.vtkMRMLVolumeNode, known: bool) -> None:
    """Say of an image or a clip that its spacing is in mm, or that it is unknown."""
    if known:
        volume.RemoveAttribute(_SPACING_KNOWN)
    else:
        volume.SetAttribute(_SPACING_KNOWN, "0")
