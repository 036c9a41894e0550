"""A clip over time: what each frame holds, and how unsure the model is in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uncertaintyseg.metrics.frames import frames
from uncertaintyseg.review.structures import remaining_error
from uncertaintyseg.wire import MEASURE, FrameCurves

_DIGITS = 6


def frame_curves(
    label: np.ndarray, maps: Mapping[str, np.ndarray], names: Mapping[int, str], area: float
) -> FrameCurves:
    """Areas and uncertainty of each frame.

    Args:
        label: class ids `[X, Y, frames]`.
        maps: `[X, Y, frames]` by name, `error_probability` among them.
        names: of the structures by class id.
        area: of a pixel.
    """
    largest = max(names, default=0)
    counts = np.array([np.bincount(part.ravel(), minlength=largest + 1) for (part,) in frames(label)])
    return FrameCurves(
        area={name: [round(float(count) * area, 4) for count in counts[:, number]] for number, name in names.items()},
        expected_error=[round(remaining_error(part) * area, 4) for (part,) in frames(maps[MEASURE])],
        uncertainty={name: [_mean(part) for (part,) in frames(values)] for name, values in maps.items()},
    )


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean(dtype=np.float64)), _DIGITS)
