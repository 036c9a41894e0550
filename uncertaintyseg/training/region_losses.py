"""Losses over whole structures: Dice of several kinds, and volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from monai.losses import DiceLoss, GeneralizedDiceLoss
from torch import Tensor

DiceKind = Literal["soft", "squared", "semimetric", "generalised", "none"]
RegionLoss = Callable[[Tensor, Tensor], Tensor]
"""Probabilities `[B, C, *spatial]` and class indices `[B, 1, *spatial]` to one number."""


def make_dice(kind: DiceKind) -> RegionLoss:
    """A Dice loss of the structures; voxels of the whole batch are summed up before anything is divided.

    "soft": 1 - 2 |p y| / (|p| + |y|), a mean over structures.
    "squared": the same with squares below, |p^2| + |y^2| (V-Net, Milletari et al. 2016).
    "semimetric": 1 - (|p| + |y| - |p - y|) / (|p| + |y|) (Wang et al., MICCAI 2023), which is least where p is y for
        labels between 0 and 1 too. For labels that are 0 or 1, as all are that are read here, it is "soft".
    "generalised": structures are summed up by 1 / |y|^2 before numerator and denominator are divided, the background
        among them (Sudre et al. 2017).
    "none": 0.
    """
    if kind == "none":
        return lambda probability, target: probability.new_zeros(())
    if kind == "generalised":
        # MONAI's 1e-5 is not small beside sums over voxels that are divided by squared volumes.
        return GeneralizedDiceLoss(to_onehot_y=True, batch=True, smooth_nr=1e-12, smooth_dr=1e-12)
    return DiceLoss(
        include_background=False,
        to_onehot_y=True,
        batch=True,
        squared_pred=kind == "squared",
        soft_label=kind == "semimetric",
    )


def weighted_dice(class_weights: Sequence[float] | None) -> RegionLoss:
    """Dice with squared denominators over all classes, a mean by the weights."""
    weight = None
    if class_weights is not None:
        weight = torch.as_tensor(class_weights, dtype=torch.float32)
        weight = weight / weight.mean()  # MONAI divides by the number of classes, not by the sum of the weights
    return DiceLoss(to_onehot_y=True, squared_pred=True, batch=True, smooth_nr=1e-6, smooth_dr=1e-6, weight=weight)


def relative_volume_error(probability: Tensor, target: Tensor) -> Tensor:
    """|expected volume - true volume| / true volume of each structure in the batch, a mean over those that are there.

    The expected volume is the sum of probabilities, so one that is right by mistakes that cancel counts as right.

    Args:
        probability: `[B, C, *spatial]`.
        target: class indices `[B, 1, *spatial]`.

    Returns:
        One number; 0 for a batch without any structure.
    """
    classes = probability.shape[1]
    true = torch.bincount(target.flatten(), minlength=classes)[1:].to(probability)
    expected = probability.movedim(1, 0).flatten(1).sum(1)[1:]
    present = true > 0
    errors = ((expected - true).abs() / true.clamp_min(1)).where(present, 0)
    return errors.sum() / present.sum().clamp_min(1)
