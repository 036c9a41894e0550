"""The plain network: all mass on one logit vector. The baseline of every comparison."""

from __future__ import annotations

from torch import Tensor

from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.logits import GaussianLogits


class Deterministic(Head):
    """logits = W f + b."""

    name = "deterministic"
    paper = "baseline"

    def forward(self, features: Tensor) -> HeadOutput:
        return HeadOutput(GaussianLogits(self.mean(features)))
