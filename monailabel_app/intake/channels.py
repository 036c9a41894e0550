"""The channels of one scan, each a client's file of its own, become NIfTI files that lie beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from monailabel_app.errors import TooLargeError
from monailabel_app.intake.opening import open_volume
from monailabel_app.intake.scan import NOTHING_SAID, write_scan
from monailabel_app.intake.volume import Volume
from uncertaintyseg.data.checks import by
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.content import content_hash

MOST_CHANNELS = 16
"""Of one scan."""
_SAME_GRID = 1e-3
"""mm by which the affines of channels may differ: files round them."""


def write_channels(
    paths: Sequence[Path], folder: Path, stem: str, about: Mapping[str, Any] = NOTHING_SAID
) -> list[Path]:
    """Write the channels of a scan as `<stem>_0000`, `<stem>_0001`, ...; the grid of each is known before its voxels.

    Args:
        paths: the client's files, in order.
        folder: where the files go.
        about: as of `write_scan`.
        stem: their name; a number at its end as of a first channel is left out.

    Raises:
        InputError: One is no scan that this server takes, lies on another grid than the first, or is there twice.
        TooLargeError: There are more than `MOST_CHANNELS`, or one has too many voxels.
    """
    if len(paths) > MOST_CHANNELS:
        raise TooLargeError(f"channels: {len(paths)} files, more than the {MOST_CHANNELS} that a scan may have here")
    case, written, first = stem.removesuffix("_0000"), [], None
    for number, path in enumerate(paths):
        with open_volume(path) as volume:
            first = first or volume
            _check_grid(volume, first, paths[0])
            written.append(write_scan(volume, folder, f"{case}_{number:04d}", about))
    seen = sorted((content_hash(file), number) for number, file in enumerate(written))
    for (one, number), (other, again) in pairwise(seen):
        if one == other:
            raise InputError(f"{paths[again].name}: the same image as {paths[number].name}; give each channel its own")
    return written


def _check_grid(volume: Volume, first: Volume, named: Path) -> None:
    if volume.shape != first.shape:
        raise InputError(f"{by(volume.shape)} voxels, {named.name} has {by(first.shape)}: resample it onto that grid")
    if not np.allclose(volume.affine, first.affine, rtol=0, atol=_SAME_GRID):
        raise InputError(f"its grid is not that of {named.name}: register the channels, and resample them onto one")
