"""One basis of class directions for the whole volume, with amplitudes at each voxel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from uncertaintyseg.heads.base import Head, HeadOutput, log_variance_layer, noise_layer
from uncertaintyseg.heads.penalties import KlDirection, weighted_kl
from uncertaintyseg.logits import Basis, Diagonal, GaussianLogits, Sum
from uncertaintyseg.logits.covariance import Noise


class SingleBasis(Head):
    """Sigma_n = B diag(a_n^2) B^T + diag(d_n) with one learned B for all voxels (paper 002 eq. 4; METHODS 3).

    Args:
        features: channels F entering the head.
        classes: C, background included.
        rank: R, amplitudes at each voxel.
        noise: who shares the basis noise: "voxel" as in eq. 13, or "volume" for coherent samples.
        kl_weight: weight of the paper's eq. 8.
        kl: its direction, see `kl_to_unit_variance`.
    """

    name = "single_basis"
    paper = "Kampen, Aspe et al., Learned Mixture-of-Bases (its Single-Basis)"
    summary = "voxel amplitudes on one basis of class directions"

    def __init__(
        self,
        features: int,
        classes: int,
        rank: int = 16,
        noise: Noise = "voxel",
        kl_weight: float = 5e-4,
        kl: KlDirection = "reverse",
    ) -> None:
        super().__init__(features, classes)
        self.noise, self.kl_weight, self.kl = noise, kl_weight, kl
        self.log_variance = log_variance_layer(features, classes)
        self.amplitude = noise_layer(features, rank)
        self.basis = nn.Parameter(torch.randn(classes, rank))

    @property
    def coherent(self) -> bool:
        return self.noise != "voxel"

    @property
    def voxelwise(self) -> bool:
        return True

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        variance = self.log_variance(features).clamp(-5, 5).exp()
        basis = self.basis[None, :, :, None, None, None].expand(len(features), -1, -1, -1, -1, -1)
        covariance = Sum(Basis(self.amplitude(features), basis, self.noise), Diagonal(variance))
        penalties = weighted_kl(self.kl_weight, variance, self.kl) if self.training else {}
        return HeadOutput(GaussianLogits(self.mean(features), covariance), **penalties)
