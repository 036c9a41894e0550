"""A volume that is already in the scene becomes a scan to work on, or there is one sentence why it cannot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import flat, nodes, pictures

_ID_LENGTH = 48
_SAME_GRID = 1e-3  # mm
_RIGHT_ANGLE = 1e-4  # cosine of the angle between two axes


class NeedsCopyError(SceneError):
    """The volume cannot be used as it stands; what `usable_copy` makes of it can."""


def check_volume(volume: slicer.vtkMRMLNode | None) -> None:
    """Look whether a model can read a volume.

    Args:
        volume: A node of the scene, or None.

    Raises:
        NeedsCopyError: It is moved by a transform, is a frame of a sequence, a picture in colour, or an image or a clip
            of unknown spacing whose pixels are not counted.
        SceneError: It is gone, no scan, without voxels, or has more than one value in a voxel.
    """
    if volume is None or volume.GetScene() is None:
        raise SceneError(_("Choose a volume of the scene."))
    name = volume.GetName()
    if volume.GetAttribute(nodes.CASE):
        raise SceneError(_("{name} belongs to a case of a server already.").format(name=name))
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise SceneError(_("{name} is a label map, not a scan: refine it in the section Segment.").format(name=name))
    if not volume.IsA("vtkMRMLScalarVolumeNode"):
        raise SceneError(_("{name} is not a volume.").format(name=name))
    image = volume.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise SceneError(_("{name} has no voxels: load it again.").format(name=name))
    _check_picture(volume)
    values = image.GetNumberOfScalarComponents()
    if volume.GetClassName() != "vtkMRMLScalarVolumeNode" or values > 1:
        text = _("{name} has {values} values in each voxel, and a model reads one: choose or make a volume with one.")
        raise SceneError(text.format(name=name, values=values))
    if pictures.is_frame(volume):
        text = _("{name} is one frame of a sequence and changes as it plays: work on a copy of the frame shown.")
        raise NeedsCopyError(text.format(name=name))
    if volume.GetParentTransformNode() is not None:
        text = _("{name} is moved by the transform {transform}: work on a copy that is where it is shown.")
        raise NeedsCopyError(text.format(name=name, transform=volume.GetParentTransformNode().GetName()))
    if not _has_right_angles(volume):
        text = _("The axes of {name} are not at right angles: resample it with Resample Scalar Volume first.")
        raise SceneError(text.format(name=name))


def check_channels(volumes: Mapping[str, slicer.vtkMRMLNode | None]) -> None:
    """Look whether volumes are the channels of one scan: each can be read, none is there twice, all have one grid.

    Args:
        volumes: By the channel's name, the first channel first.

    Raises:
        SceneError: As `check_volume` does, or names the channel that does not fit.
    """
    (first, base), *others = volumes.items()
    for name, volume in volumes.items():
        if volume is None:
            raise SceneError(_("Choose the volume for {channel}.").format(channel=name))
        check_volume(volume)
    if len({volume.GetID() for volume in volumes.values()}) < len(volumes):
        raise SceneError(_("One volume is chosen for two channels: choose each channel's own."))
    for name, volume in others:
        same = volume.GetImageData().GetDimensions() == base.GetImageData().GetDimensions()
        if not (same and np.allclose(nodes.ijk_to_ras(volume), nodes.ijk_to_ras(base), rtol=0, atol=_SAME_GRID)):
            text = _("{channel} ({volume}) lies on another grid than {first}: register it, and resample it onto that.")
            raise SceneError(text.format(channel=name, volume=volume.GetName(), first=first))


def channels_by_name(
    names: Sequence[str], volumes: Sequence[slicer.vtkMRMLScalarVolumeNode]
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Return the volume for each channel whose name is in the volume's, best as a word; each volume at most once."""
    found: dict[str, slicer.vtkMRMLScalarVolumeNode] = {}
    left = [volume for volume in volumes if not volume.IsA("vtkMRMLLabelMapVolumeNode")]
    for name in sorted(names, key=len, reverse=True):  # T1ce before T1, which is in its name too
        within = [volume for volume in left if name.casefold() in volume.GetName().casefold()]
        words = [v for v in within if name.casefold() in re.split(r"[^a-z0-9]+", v.GetName().casefold())]
        if chosen := next(iter([*words, *within]), None):
            found[name] = chosen
            left.remove(chosen)
    return found


def usable_copy(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Make a copy that stands still: where the volume is shown now, without a transform, out of any sequence.

    Of a frame of a clip it holds all frames, of a picture in colour it is grey, and where the spacing is unknown it
    counts pixels. The copy is the user's own; the volume stays as it is.

    Raises:
        SceneError: The transform cannot be applied, or frames are of different sizes.
    """
    scene = volume.GetScene()
    if pictures.frames_of(volume):
        return pictures.clip_of(volume)
    if pictures.is_colour(volume):
        return pictures.grey_copy(volume)
    if _is_to_count(volume):
        return pictures.pixel_copy(volume)
    copy = slicer.modules.volumes.logic().CloneVolume(scene, volume, _("{name} copy").format(name=volume.GetName()))
    if copy.GetParentTransformNode() is not None and not copy.HardenTransform():
        scene.RemoveNode(copy)
        raise SceneError(_("The transform of {name} cannot be applied to a copy.").format(name=volume.GetName()))
    return copy


def proposed_id(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return an id for the server: the node's name without odd characters, and a mark of its voxels.

    The mark keeps two volumes of one name apart, and is the same when the same volume comes again.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", volume.GetName() or "").strip("_-")[:_ID_LENGTH] or "scan"
    mark = hashlib.sha256(np.ascontiguousarray(slicer.util.arrayFromVolume(volume)))
    mark.update(nodes.ijk_to_ras(volume).tobytes())
    return f"{name}-{mark.hexdigest()[:6]}"


def _check_picture(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Raise `NeedsCopyError` for what Slicer loads of pictures and films, and a model does not read as it stands."""
    name = volume.GetName()
    if count := len(pictures.frames_of(volume)):
        text = _("{name} is one frame of a clip of {count}: work on a copy that holds all of them.")
        raise NeedsCopyError(text.format(name=name, count=count))
    if pictures.is_colour(volume):
        text = _("{name} is a picture in colour: work on a copy in grey (0.299 R + 0.587 G + 0.114 B).")
        raise NeedsCopyError(text.format(name=name))
    if _is_to_count(volume):
        text = _("The spacing of {name}, {spacing} mm here, is said to be unknown: work on a copy that counts pixels.")
        spacing = " x ".join(f"{mm:.3g}" for mm in volume.GetSpacing()[:2])
        raise NeedsCopyError(text.format(name=name, spacing=spacing))


def _is_to_count(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    unknown = flat.is_flat(volume) and not flat.spacing_known(volume)
    return unknown and not np.allclose(volume.GetSpacing()[:2], 1.0)


def _has_right_angles(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    axes = nodes.ijk_to_ras(volume)[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        return False
    axes = axes / lengths
    return np.allclose(axes.T @ axes, np.eye(3), atol=_RIGHT_ANGLE)
