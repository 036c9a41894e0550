"""What Slicer loads of pictures and films, frames of a sequence and colours, as one volume that a model reads."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import flat, nodes

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value, ITU-R BT.601: as the library reads pictures (docs/images.md)."""
_COLOURS = (3, 4)  # values of a pixel; the fourth says how opaque it is


def is_colour(volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether a volume is a picture of one slice in colour."""
    image = volume.GetImageData()
    return flat.slices(volume) == 1 and image.GetNumberOfScalarComponents() in _COLOURS


def grey(values: np.ndarray) -> np.ndarray:
    """Return the grey of colours `[..., 3 or 4]`: 0.299 R + 0.587 G + 0.114 B, and where these agree, their value."""
    red, green, blue = (values[..., number].astype(np.float64) for number in range(3))
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    is_grey = (red == green) & (green == blue)
    if is_grey.all():
        return np.ascontiguousarray(values[..., 0])
    return np.where(is_grey, red, luma).astype(np.float32)


def frames_of(volume: slicer.vtkMRMLVolumeNode) -> list[slicer.vtkMRMLVolumeNode]:
    """Return the frames of the clip that a volume shows a frame of; none where it is no frame of one slice.

    Raises:
        SceneError: The frames are of different sizes, or one is no picture.
    """
    sequence = _sequence(volume)
    if sequence is None or flat.slices(volume) != 1:
        return []
    frames = [sequence.GetNthDataNode(number) for number in range(sequence.GetNumberOfDataNodes())]
    shapes = [_shape(frame) for frame in frames]
    for number, shape in enumerate(shapes, start=1):
        if shape != shapes[0]:
            text = _("Frame {number} of {name} is {one}, the first is {first}: the frames of a clip have one size.")
            told = {"one": _said(shape), "first": _said(shapes[0])}
            raise SceneError(text.format(number=number, name=volume.GetName(), **told))
    return frames


def is_frame(volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether a volume shows what a sequence browser plays."""
    return _sequence(volume) is not None


def clip_of(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Make a volume of all frames of the clip that a volume shows a frame of, in grey; its third axis is time.

    It lies where the first frame does, and is the user's own.

    Raises:
        SceneError: As `frames_of` does.
    """
    frames = frames_of(volume)
    return _new(volume, np.concatenate([_grey_of(frame) for frame in frames]), frames[0], _("{name} clip"), clip=True)


def grey_copy(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Make a copy of a picture in grey, where it lies."""
    return _new(volume, _grey_of(volume), volume, _("{name} grey"), clip=False)


def pixel_copy(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Make a copy of an image or a clip whose spacing is 1 along every axis, where its first pixel lies."""
    voxels = slicer.util.arrayFromVolume(volume).copy()
    copy = _new(volume, voxels, volume, _("{name} pixels"), clip=flat.is_clip(volume))
    flat.set_spacing_known(copy, False)
    copy.SetSpacing(1.0, 1.0, 1.0)
    return copy


def _new(
    volume: slicer.vtkMRMLVolumeNode, voxels: np.ndarray, like: slicer.vtkMRMLVolumeNode, name: str, *, clip: bool
) -> slicer.vtkMRMLScalarVolumeNode:
    scene = volume.GetScene()
    copy = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name.format(name=volume.GetName()))
    slicer.util.updateVolumeFromArray(copy, voxels)
    copy.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(nodes.ijk_to_ras(like)))
    copy.CreateDefaultDisplayNodes()
    flat.set_clip(copy, clip)
    copy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    if volume.GetParentTransformNode() is not None and not copy.HardenTransform():
        scene.RemoveNode(copy)
        raise SceneError(_("The transform of {name} cannot be applied to a copy.").format(name=volume.GetName()))
    return copy


def _grey_of(frame: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the voxels `[K, J, I]` of a picture."""
    voxels = slicer.util.arrayFromVolume(frame)
    return grey(voxels) if voxels.ndim == 4 else voxels


def _shape(frame: slicer.vtkMRMLNode | None) -> tuple[int, ...]:
    image = frame.GetImageData() if frame is not None and frame.IsA("vtkMRMLScalarVolumeNode") else None
    if image is None:
        return ()
    width, height, depth = image.GetDimensions()
    values = image.GetNumberOfScalarComponents()
    return (width, height) if depth == 1 and values in (1, *_COLOURS) else ()


def _said(shape: tuple[int, ...]) -> str:
    return _("{width} x {height} pixels").format(width=shape[0], height=shape[1]) if shape else _("no picture")


def _sequence(volume: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLSequenceNode | None:
    """Return the sequence whose frame a volume shows; None where no browser plays it."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", volume.GetScene()):
        if browser.IsProxyNode(volume.GetID()):
            return browser.GetSequenceNode(volume)
    return None
