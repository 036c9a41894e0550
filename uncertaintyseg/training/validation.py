"""Scores of a network during a fit, on the path that inference takes."""

from __future__ import annotations

import torch
from monai.inferers import Inferer
from monai.metrics import DiceMetric
from torch import Tensor

from uncertaintyseg.inference.window import MomentsInferer


class ProbabilityInferer(Inferer):
    """E[p] over sliding windows, `[B, C, *spatial]`."""

    def __init__(self, moments: MomentsInferer) -> None:
        super().__init__()
        self.moments = moments

    def __call__(self, inputs: Tensor, network: torch.nn.Module) -> Tensor:  # type: ignore[override]
        return self.moments(inputs, network).moments.probability


class Scores:
    """Mean Dice of the structures and mean NLL of the voxels, over cases."""

    def __init__(self, classes: int) -> None:
        self._dice = DiceMetric(include_background=False, num_classes=classes)
        self._nll: list[Tensor] = []

    def update(self, probability: Tensor, target: Tensor) -> None:
        """Add cases: E[p] `[B, C, *spatial]`, class indices `[B, 1, *spatial]`."""
        self._dice(probability.argmax(1, keepdim=True), target)
        own = probability.gather(1, target).clamp_min(1e-12)
        self._nll.append(-own.log().flatten(1).mean(1))

    def compute(self) -> dict[str, float]:
        """The scores so far; resets."""
        scores = {"dice": float(self._dice.aggregate()), "nll": float(torch.cat(self._nll).mean())}
        self._dice.reset()
        self._nll = []
        return scores
