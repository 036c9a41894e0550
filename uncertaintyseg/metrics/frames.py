"""Clips, whose third axis is time: what links voxels to their neighbours does so within a frame, never across.

Functions that link voxels take `clip`, and go by what is here. The frames of a clip are then as many images: it does
not matter in which order they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from uncertaintyseg.errors import InputError

FAR_MM = 1e9
"""From frame to frame, for what measures distances: no margin reaches there."""


def frames(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Each frame `[X, Y, 1]` of arrays, or maps of boxes, `[X, Y, frames]`, one after another."""
    x, y, count = arrays[0].shape
    for number in range(count):
        place = (slice(0, x), slice(0, y), slice(number, number + 1))
        yield tuple(values[place] for values in arrays)


def by_frame(function: Callable[..., np.ndarray], *arrays: np.ndarray, clip: bool) -> np.ndarray:
    """What a function of volumes makes of arrays `[X, Y, Z]`; of a clip what it makes of each frame alone."""
    return np.concatenate([function(*parts) for parts in frames(*arrays)], axis=2) if clip else function(*arrays)


def apart(spacing: Sequence[float], *, clip: bool) -> tuple[float, ...]:
    """The spacing in mm of a volume; of a clip with its frames too far apart for any margin."""
    return (*spacing[:2], FAR_MM) if clip else tuple(spacing)


def neighbours(*, clip: bool) -> np.ndarray | None:
    """Which voxels are neighbours of the middle one, bool `[3, 3, 3]`, where it is not by all faces (None)."""
    if not clip:
        return None
    cross = np.zeros((3, 3, 3), bool)
    cross[1, :, 1] = cross[:, 1, 1] = True
    return cross


def refuse_clip(clip: bool, what: str) -> None:
    """Raise `InputError` for what cannot be done with a clip."""
    if clip:
        raise InputError(
            f"a clip's third axis is time, so there is no {what}; save the frame that you mean as an image."
        )
