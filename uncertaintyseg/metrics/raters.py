"""A model against the raters of each case: whether its samples and risk maps vary as people do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from uncertaintyseg.metrics.ambiguity import (
    Pairs,
    diversity,
    ged_squared,
    interval_coverage,
    normalised_cross_correlation,
    rater_variance,
)
from uncertaintyseg.metrics.arrays import bounding_box, check_shapes
from uncertaintyseg.metrics.intervals import mean_with_interval

PAIRS: Pairs = "all"
"""The full matrix, as in the code of SSN (METHODS 2.5)."""
ROUNDING = 1e-6
"""A map that varies by less is constant: all mass on one point leaves E[p^2] - E[p]^2 at rounding error, not at 0."""
Box = tuple[slice, ...]


class RaterScores(NamedTuple):
    """One case against its raters."""

    ged_squared: float
    diversity: float
    """Of the samples: their mean distance; 0 for a single one."""
    rater_diversity: float
    ncc_variance: float
    """Of the map `variance` and the raters' variance over the whole scan; NaN where one of them is constant."""
    ncc_entropy: float
    """Of the map `predictive_entropy` and the raters' variance."""
    volume_95_coverage: float
    """Share of the raters' volumes in the model's intervals, over structures; NaN without intervals."""
    samples: int
    """How many there were."""


def rater_scores(
    samples: Iterable[np.ndarray],
    raters: Iterable[np.ndarray],
    classes: int,
    maps: Mapping[str, np.ndarray],
    intervals_ml: Mapping[int, tuple[float, float] | None],
    voxel_ml: float,
) -> RaterScores:
    """Every measure of a case. Of whole volumes one label is held at a time; the others are cut to their foreground.

    Args:
        samples: class ids `[*S]`, one at a time; of a model that draws no whole shapes its label alone.
        raters: class ids `[*S]` of two raters or more.
        classes: C, background included.
        maps: `variance` and `predictive_entropy`, `[*S]`.
        intervals_ml: 95 % interval of the volume by class id, None where the model gives none.
        voxel_ml: volume of a voxel.

    Raises:
        InputError: when a grid differs, there is no sample, fewer than two raters, or a map is not finite.
    """
    whole = maps["variance"].shape
    box, (drawn, rated) = cut_to_foreground(whole, samples, raters)
    observed = np.zeros(whole, np.float32)  # raters agree on the background everywhere outside the box
    observed[box] = rater_variance(rated, classes)
    volumes = np.array([[(label == index).sum() for index in intervals_ml] for label in rated]) * voxel_ml
    return RaterScores(
        ged_squared=ged_squared(drawn, rated, classes, PAIRS),
        diversity=diversity(drawn, classes, PAIRS),
        rater_diversity=diversity(rated, classes, PAIRS),
        ncc_variance=_correlation(maps["variance"], observed),
        ncc_entropy=_correlation(maps["predictive_entropy"], observed),
        volume_95_coverage=interval_coverage(list(intervals_ml.values()), volumes),
        samples=len(drawn),
    )


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Any] | None:
    """Means over cases with intervals, from the fields of `RaterScores`; None without a case."""
    if not rows:
        return None
    measures = (key for key in RaterScores._fields if key != "samples")
    means = {key: mean_with_interval([row[key] for row in rows])._asdict() for key in measures}
    return {"n": len(rows), **means, "samples": max(row["samples"] for row in rows), "pairs": PAIRS}


def cut_to_foreground(shape: Sequence[int], *groups: Iterable[np.ndarray]) -> tuple[Box, list[np.ndarray]]:
    """Cut groups of labels to the one box that holds the foreground of all, which changes no IoU and no volume.

    Args:
        shape: of every label.
        groups: class ids `[*shape]` up to 255, read one label at a time.

    Returns:
        The box, a single voxel where nothing is foreground, and each group as uint8 `[n, *box]`.

    Raises:
        InputError: when a label has another shape.
    """
    found = [[_own_box(label, shape) for label in group] for group in groups]
    boxes = [box for group in found for box, _ in group if box is not None] or [(slice(0, 1),) * len(shape)]
    low, high = (np.array([[getattr(part, end) for part in box] for box in boxes]) for end in ("start", "stop"))
    low, high = low.min(0), high.max(0)
    stacks = [np.zeros((len(group), *(high - low)), np.uint8) for group in found]
    for stack, group in zip(stacks, found, strict=True):
        for target, (box, values) in zip(stack, group, strict=True):
            if box is not None:
                target[tuple(slice(p.start - a, p.stop - a) for p, a in zip(box, low, strict=True))] = values
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), stacks


def _correlation(predicted: np.ndarray, observed: np.ndarray) -> float:
    """NaN for a map that only rounding moves, which would correlate with anything by chance."""
    return math.nan if np.ptp(predicted) < ROUNDING else normalised_cross_correlation(predicted, observed)


def _own_box(label: np.ndarray, shape: Sequence[int]) -> tuple[Box | None, np.ndarray | None]:
    """The foreground's box, and a copy of what is in it."""
    check_shapes("a label", label.shape, shape)
    box = bounding_box(label > 0, (1,) * label.ndim)
    return box, None if box is None else label[box].astype(np.uint8)  # always a copy: the whole label can go
