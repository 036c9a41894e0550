"""The plain network: all mass on one logit vector. The baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.logits import GaussianLogits


class Deterministic(Head):
    """logits = W f + b."""

    name = "deterministic"
    paper = "baseline"
    summary = "one softmax, no distribution: the baseline"
    stochastic = False

    @property
    def voxelwise(self) -> bool:
        return True

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        return HeadOutput(GaussianLogits(self.mean(features)))
