"""Mixture-of-Bases: voxel noise along class directions that are mixed anew in every cube of the volume."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.logits import Basis, Diagonal, GaussianLogits, Sum
from uncertaintyseg.logits.covariance import Noise

KlDirection = Literal["reverse", "paper"]


class BasisSelector(nn.Module):
    """Weights of M bases in each of P^3 cubes, from pooled features (METHODS 3.2).

    Adaptive pooling serves volumes whose size P does not divide (METHODS A6). The weights are soft, in training and
    after it (METHODS A5).
    """

    def __init__(self, features: int, bases: int, parts: int, temperature: float = 0.3) -> None:
        super().__init__()
        self.temperature = temperature
        self.score = nn.Conv3d(features, bases, 1)
        self.pool = nn.AdaptiveAvgPool3d(parts)
        self.mix = nn.Linear(bases * parts**3, bases * parts**3)

    def forward(self, features: Tensor) -> Tensor:
        """Features `[B, F, D, H, W]` to weights `[B, M, P, P, P]` that sum to 1 over M."""
        scores = nn.functional.gelu(self.pool(self.score(features)))
        return (self.mix(scores.flatten(1)).reshape(scores.shape) / self.temperature).softmax(1)


class MixtureOfBases(Head):
    """MoB: Sigma_n = B_q diag(a_n^2) B_q^T + diag(d_n), B_q = sum_m w_qm B_m (paper 002 eq. 4-7; METHODS 3).

    Args:
        features: channels F entering the head.
        classes: C, background included.
        rank: R, amplitudes at each voxel.
        bases: M, how many bases are mixed.
        parts: P, cubes on each axis of the window.
        noise: who shares the basis noise: "voxel" as in eq. 13, or "cube" or "volume" for coherent samples.
        kl_weight, orthogonality_weight, selection_weight: weights of the paper's regularisers (eq. 8-10).
        kl: direction of the first of them, see `kl_to_unit_variance`.
    """

    name = "mixture_of_bases"
    paper = "paper 002, Mixture-of-Bases covariance heads"

    def __init__(
        self,
        features: int,
        classes: int,
        rank: int = 16,
        bases: int = 3,
        parts: int = 4,
        noise: Noise = "voxel",
        kl_weight: float = 5e-4,
        orthogonality_weight: float = 1.0,
        selection_weight: float = 0.05,
        kl: KlDirection = "reverse",
    ) -> None:
        super().__init__(features, classes)
        self.noise, self.kl = noise, kl
        self.kl_weight, self.orthogonality_weight = kl_weight, orthogonality_weight
        self.selection_weight = selection_weight
        self.log_variance = nn.Conv3d(features, classes, 1)
        self.amplitude = nn.Conv3d(features, rank, 1)
        self.bases = nn.Parameter(torch.randn(bases, classes, rank))
        self.selector = BasisSelector(features, bases, parts)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        nn.init.normal_(self.amplitude.weight, std=0.05)
        nn.init.zeros_(self.amplitude.bias)

    @property
    def coherent(self) -> bool:
        return self.noise != "voxel"

    def forward(self, features: Tensor) -> HeadOutput:
        diagonal = self.log_variance(features).clamp(-5, 5).exp()
        weights = self.selector(features)
        basis = torch.einsum("bmxyz,mcr->bcrxyz", weights, self.bases)
        covariance = Sum(Basis(self.amplitude(features), basis, self.noise), Diagonal(diagonal))
        penalties = {}
        if self.training:
            penalties = {
                "kl": self.kl_weight * kl_to_unit_variance(diagonal, self.kl),
                "orthogonality": self.orthogonality_weight * orthogonality(self.bases),
                "selection": self.selection_weight * negative_entropy(weights),
            }
        return HeadOutput(GaussianLogits(self.mean(features), covariance), penalties=penalties)


def kl_to_unit_variance(variance: Tensor, direction: KlDirection = "reverse") -> Tensor:
    """Mean over elements of the divergence between N(mu, d) and N(mu, 1) (eq. 8; on a variance, METHODS A1-A3).

    "paper" is eq. 8 as it is written, KL(N(mu, 1) || N(mu, d)); "reverse", KL(N(mu, d) || N(mu, 1)), is what the
    authors' code does and what keeps large variances in check.
    """
    if direction == "paper":
        return 0.5 * (variance.reciprocal() - 1 + variance.log()).mean()
    return 0.5 * (variance - 1 - variance.log()).mean()


def orthogonality(bases: Tensor) -> Tensor:
    """Mean squared cosine between flattened bases `[M, C, R]` (eq. 9): 0 if orthogonal, 1 if equal; 0 for one basis."""
    count = bases.shape[0]
    if count == 1:
        return bases.new_zeros(())
    unit = nn.functional.normalize(bases.flatten(1), dim=1)
    cosines = (unit @ unit.T).square()
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))


def negative_entropy(weights: Tensor) -> Tensor:
    """Mean over cubes of sum_m w ln w for weights `[B, M, *cubes]` (eq. 10): minimal, -ln M, if all bases are used."""
    return -torch.special.entr(weights).sum(1).mean()
