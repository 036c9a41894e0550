"""What only a whole case knows of a head's maps: one number that weighs them (METHODS 4.5, A23)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np

from uncertaintyseg.heads import Head


def weigh_maps(maps: MutableMapping[str, np.ndarray], head: Head | None, *, clip: bool) -> dict[str, float]:
    """`scale_cases` as a head wants it; None wants nothing."""
    return {} if head is None else scale_cases(maps, head.scaled_by, clip=clip)


def scale_cases(maps: MutableMapping[str, np.ndarray], scaled_by: Mapping[str, str], *, clip: bool) -> dict[str, float]:
    """Multiply maps by the variance over voxels of another map, in place; a clip frame by frame.

    Args:
        maps: `[*S]` by name; where there is "valid", only voxels that the model saw count.
        scaled_by: name of a map to that of the one whose variance it gets; those that are not there are left out.
        clip: whether the third axis is time, so that each frame has a number of its own.

    Returns:
        By name of a map, what it was multiplied by, of a clip the most; so its range is as many times that of the head.
    """
    wanted = {name: by for name, by in scaled_by.items() if name in maps and by in maps}
    scales = {by: _variances(maps[by], maps.get("valid"), clip=clip) for by in set(wanted.values())}
    for name, by in wanted.items():
        for part, scale in zip(_parts(maps[name], clip=clip), scales[by], strict=True):
            for plane in part:
                np.multiply(plane, np.float32(scale), out=plane)
    return {name: max(scales[by], default=0.0) for name, by in wanted.items()}


def _parts(values: np.ndarray, *, clip: bool) -> list[np.ndarray]:
    """What has a number of its own: the frames of a clip, else all of it; views."""
    return list(np.moveaxis(values, 2, 0)) if clip else [values]


def _variances(values: np.ndarray, valid: np.ndarray | None, *, clip: bool) -> list[float]:
    """Unbiased variance of each part, plane by plane; 0 with fewer than two voxels."""
    seen = [None] * values.shape[2] if valid is None and clip else [None]
    if valid is not None:
        seen = _parts(valid, clip=clip)
    return [_variance(part, known) for part, known in zip(_parts(values, clip=clip), seen, strict=True)]


def _variance(values: np.ndarray, valid: np.ndarray | None) -> float:
    count, total, squares = 0, 0.0, 0.0
    for plane in _planes(values, valid):
        count += plane.size
        total += float(plane.sum())
    mean = total / max(count, 1)
    for plane in _planes(values, valid):
        squares += float(np.square(plane - mean).sum())
    return squares / (count - 1) if count > 1 else 0.0


def _planes(values: np.ndarray, valid: np.ndarray | None) -> Iterator[np.ndarray]:
    for number, plane in enumerate(values):
        known = plane if valid is None else plane[valid[number] > 0]
        yield known.astype(np.float64)
