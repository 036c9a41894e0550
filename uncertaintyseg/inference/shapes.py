"""What whole segmentations drawn from a model say of the one it gives: its volumes and its Dice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.wire import Label


class ShapeSpread(NamedTuple):
    """Of each structure.

    Attributes:
        limits: 2.5 and 97.5 % of its volume in mL, by class id.
        dice: mean Dice of the label with the draws, by name; without those that neither label nor draws have.
        count: how many were drawn.
    """

    limits: dict[int, tuple[float, float]]
    dice: dict[str, float]
    count: int


def shape_spread(draws: Iterable[Tensor], label: Tensor, labels: Sequence[Label], voxel_ml: float) -> ShapeSpread:
    """Volumes of draws and their agreement with a label, in one pass over them.

    Args:
        draws: class indices `[*S]` each, at least one.
        label: class indices `[*S]`.
        labels: the structures.
        voxel_ml: volume of a voxel.

    Raises:
        InputError: for a draw of another shape than the label's, or classes without a structure.
    """
    classes = len(labels) + 1
    counts = np.stack([_pairs(label, draw, classes) for draw in draws])
    drawn = counts.sum(1)
    low, high = np.percentile(drawn * voxel_ml, [2.5, 97.5], axis=0)
    both, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(2) + drawn
    dice = np.divide(2 * both, total, out=np.full(total.shape, np.nan), where=total > 0)
    return ShapeSpread(
        limits={item.id: (float(low[item.id]), float(high[item.id])) for item in labels},
        dice={item.name: float(np.nanmean(dice[:, item.id])) for item in labels if total[:, item.id].any()},
        count=len(counts),
    )


def _pairs(label: Tensor, draw: Tensor, classes: int) -> np.ndarray:
    """Voxels of each class in the label (rows) and in a draw (columns), `[classes, classes]`."""
    check_shapes("a draw", draw.shape, label.shape)
    found = torch.bincount(label.flatten().long() * classes + draw.flatten(), minlength=classes**2)
    if len(found) > classes**2 or max(int(label.max()), int(draw.max())) >= classes:
        raise InputError(f"a label or draw has a class beyond the {classes - 1} structures and the background.")
    return found.reshape(classes, classes).cpu().numpy()
