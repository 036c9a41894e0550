"""Channels that cannot be right: the same image twice, or a CT where an MR belongs.

MR has no unit, so its channels are told apart from CT, from one another only where their scales lie far apart: a scan
is refused for what can hardly be right, never for what is merely unusual.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

import torch
from monai.data import MetaTensor
from torch import Tensor

from uncertaintyseg.errors import InputError

_CT = {"ct", "cta", "cbct", "cect", "ncct", "hu"}
_OTHER = {
    "t1", "t1w", "t1n", "t1c", "t1ce", "t1gd", "t1map", "t2", "t2w", "t2f", "t2map", "flair", "mr", "mri", "mra", "dwi",
    "adc", "pd", "swi", "dce", "bold", "pet", "suv", "fdg", "us", "spect",
}  # fmt: skip
"""Words in the names of channels that are CT, and that are not."""
_BELOW_HU = -200.0  # the lowest intensities of a structure; only Hounsfield units go there
_ABOVE_HU = 500.0  # the median of structures; only dense bone has so many
_FAT, _AIR, _TISSUE = -50.0, -200.0, (-100.0, 200.0)  # HU
_SHARE = 0.01  # of the voxels that fat and air, and soft tissue, have at least in a CT
_FAR, _NEAR = math.log(30), math.log(4)  # factors between scales that are not, and that may be, of one channel
_TOP = 0.995  # of the intensities are below what counts as a channel's scale
_ENOUGH = 1_000_000  # voxels


class Range(Protocol):
    """Intensities of a channel over the structures of a model's training scans (`wire.ChannelRange`)."""

    low: float
    median: float
    high: float


def check_channels(
    scan: MetaTensor, names: Sequence[str], ranges: Sequence[Range] | None = None, modality: str | None = None
) -> None:
    """Refuse a scan two of whose channels are one image, or whose channels are of other modalities than they should.

    Args:
        scan: `[channels, X, Y, Z]`; of one channel nothing is asked.
        names: of the channels, as the model has them.
        ranges: of them, where the model knows them.
        modality: of all of them, where the model says so: "CT", "MR" or "US".

    Raises:
        InputError: Names the channels, and the way out.
    """
    if len(scan) < 2:
        return
    file = scan.meta["filename_or_obj"]
    for one, other in combinations(range(len(names)), 2):
        if torch.equal(scan[one].as_tensor(), scan[other].as_tensor()):
            raise InputError(
                f"{file}: {names[one]} and {names[other]} are the same image. Give each channel its own file, in the "
                f"order {', '.join(names)}."
            )
    if reason := swapped(scan, names, ranges, modality):
        raise InputError(
            f"{file}: {reason} Give the files in the order {', '.join(names)}; if they are right as they are, run it "
            "with force (--force)."
        )


def swapped(
    scan: MetaTensor, names: Sequence[str], ranges: Sequence[Range] | None = None, modality: str | None = None
) -> str | None:
    """Why the channels of a scan cannot be those of their names, in a sentence or two; None where they may be.

    Args are those of `check_channels`.
    """
    channels = [_some(channel) for channel in scan.as_tensor()]
    known = list(ranges) if ranges and len(ranges) == len(names) else [None] * len(names)
    expected = [_is_ct(name, found, modality) for name, found in zip(names, known, strict=True)]
    looks = [_looks_like_ct(channel) for channel in channels]
    lost = [name for name, is_ct, is_like in zip(names, expected, looks, strict=True) if is_ct and not is_like]
    for name, is_ct, is_like in zip(names, expected, looks, strict=True):
        if is_like and (is_ct is False or (is_ct is None and lost)):
            return f"{name} looks like CT{f' and {lost[0]} does not' if lost else ''}: channels swapped?"
    if None not in known:
        scales = [float(channel.abs().quantile(_TOP)) for channel in channels]
        meant = [max(abs(found.low), abs(found.high)) for found in known]
        for one, other in combinations(range(len(names)), 2):
            if _fit_each_other(scales[one], scales[other], meant[one], meant[other]):
                return (
                    f"{names[one]} has the intensities of {names[other]}, and {names[other]} those of {names[one]}: "
                    "channels swapped?"
                )
    return None


def _fit_each_other(one: float, other: float, meant_one: float, meant_other: float) -> bool:
    """Whether each scale is that of the other channel, and far from its own."""
    if min(one, other, meant_one, meant_other) <= 0:
        return False
    own = min(abs(math.log(one / meant_one)), abs(math.log(other / meant_other)))
    crossed = max(abs(math.log(one / meant_other)), abs(math.log(other / meant_one)))
    return own > _FAR and crossed < _NEAR


def _is_ct(name: str, known: Range | None, modality: str | None) -> bool | None:
    """Whether a channel is CT by its name, else by what its structures looked like; None where neither tells."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & _CT:
        return True
    if words & _OTHER or modality == "MR":
        return False
    if known is None:
        return True if modality == "CT" else None
    if known.low < _BELOW_HU:
        return True
    return False if known.median > _ABOVE_HU else None


def _looks_like_ct(voxels: Tensor) -> bool:
    """Whether there are fat and air as well as soft tissue, in Hounsfield units."""
    fat = float((voxels < _FAT).float().mean())
    tissue = float(((voxels >= _TISSUE[0]) & (voxels <= _TISSUE[1])).float().mean())
    return fat >= _SHARE and tissue >= _SHARE and float(voxels.min()) < _AIR


def _some(channel: Tensor) -> Tensor:
    voxels = channel.flatten()
    return voxels[:: max(1, voxels.numel() // _ENOUGH)]
