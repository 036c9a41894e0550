"""Independent Gaussian noise on every logit: the simplest stochastic head, and the control of all others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from uncertaintyseg.heads.base import Head, HeadOutput, log_variance_layer
from uncertaintyseg.heads.penalties import KlDirection, weighted_kl
from uncertaintyseg.logits import Diagonal, GaussianLogits


class DiagonalHead(Head):
    """Sigma_n = diag(d_n) with d = exp(log-variance layer) (Kendall and Gal 2017; METHODS 3, A3, A13).

    Trained through its closed form, so the variances do get a gradient. With two classes and voxel noise the basis
    heads reach the same distributions (METHODS 3.7).

    Args:
        features: channels F entering the head.
        classes: C, background included.
        kl_weight: weight of paper 002's eq. 8.
        kl: its direction, see `kl_to_unit_variance`.
    """

    name = "diagonal"
    paper = "Kendall and Gal 2017"
    summary = "a variance for each logit"

    def __init__(self, features: int, classes: int, kl_weight: float = 5e-4, kl: KlDirection = "reverse") -> None:
        super().__init__(features, classes)
        self.kl_weight, self.kl = kl_weight, kl
        self.log_variance = log_variance_layer(features, classes)

    @property
    def voxelwise(self) -> bool:
        return True

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        variance = self.log_variance(features).clamp(-5, 5).exp()
        penalties = weighted_kl(self.kl_weight, variance, self.kl) if self.training else {}
        return HeadOutput(GaussianLogits(self.mean(features), Diagonal(variance)), **penalties)
