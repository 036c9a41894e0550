"""What whole segmentations drawn from a model say of the one it gives: its volumes and its Dice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.metrics.intervals import SHARE, draw_interval, fewest_draws
from uncertaintyseg.review.structures import Drawn
from uncertaintyseg.wire import Label

FEWEST = fewest_draws()
"""Whole segmentations that a 95 % interval needs."""
SAMPLES = 79
"""Drawn by default: 95 % lie between the second smallest and the second largest, which is narrower than all of 64."""


def shape_spread(
    draws: Iterable[Tensor],
    label: Tensor,
    labels: Sequence[Label],
    voxel_ml: float,
    *,
    source: str,
    settled: np.ndarray | None = None,
) -> Drawn:
    """Volumes of draws and their agreement with a label, in one pass over them.

    Args:
        draws: class indices `[*S]` each, at least one.
        label: class indices `[*S]`.
        labels: the structures.
        voxel_ml: volume of a voxel.
        source: what they were drawn from, for people.
        settled: what is the same in all draws and not among their voxels, as of `pairs`.

    Raises:
        InputError: for a draw of another shape than the label's, or classes without a structure.
    """
    classes = len(labels) + 1
    counts = np.stack([pairs(label, draw, classes) for draw in draws]) + (0 if settled is None else settled)
    drawn = counts.sum(1)
    interval = draw_interval(drawn * voxel_ml)
    both, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(2) + drawn
    dice = np.divide(2 * both, total, out=np.full(total.shape, np.nan), where=total > 0)
    known = (total > 0).any(0)
    limits = interval.limits
    return Drawn(
        method=_method(len(counts), interval.rank, interval.coverage, source, given=limits is not None),
        limits=None if limits is None else {item.id: tuple(limits[:, item.id].tolist()) for item in labels},
        dice={item.id: float(np.nanmean(dice[:, item.id])) if known[item.id] else None for item in labels},
        coverage=interval.coverage,
        count=len(counts),
    )


def pairs(label: Tensor, draw: Tensor, classes: int) -> np.ndarray:
    """Voxels of each class in a label (rows) and in a draw (columns), both class indices `[*S]`.

    Returns:
        int64 `[classes, classes]`.

    Raises:
        InputError: for other shapes, or a class beyond these.
    """
    check_shapes("a draw", draw.shape, label.shape)
    if label.numel() and max(int(label.max()), int(draw.max())) >= classes:
        raise InputError(f"a label or draw has a class beyond the {classes - 1} structures and the background.")
    found = torch.bincount(label.flatten().long() * classes + draw.flatten(), minlength=classes**2)
    return found.reshape(classes, classes).cpu().numpy()


def _method(count: int, rank: int, coverage: float, source: str, *, given: bool) -> str:
    if not given:
        return (
            f"none: {count} whole segmentations drawn {source} hold the next with a chance of {coverage:.0%} at most; "
            f"{SHARE:.0%} takes {FEWEST}"
        )
    named = ("smallest to largest", "second smallest to second largest", "third smallest to third largest")
    which = named[rank - 1] if rank <= len(named) else f"{rank}th from either end"
    return f"{which} of {count} whole segmentations drawn {source}; holds {coverage:.1%} of such"
