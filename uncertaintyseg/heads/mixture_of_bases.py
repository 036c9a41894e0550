"""Mixture-of-Bases: voxel noise along class directions that are mixed anew in every cube of the volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import Head, HeadOutput, log_variance_layer, noise_layer
from uncertaintyseg.heads.penalties import KlDirection, kl_to_unit_variance, negative_entropy, orthogonality
from uncertaintyseg.logits import Basis, Diagonal, GaussianLogits, Sum
from uncertaintyseg.logits.covariance import Noise

Choice = Literal["soft", "straight_through", "hard"]


class BasisSelector(nn.Module):
    """Weights of M bases in each of P^3 cubes, from pooled features (METHODS 3.2).

    Adaptive pooling serves volumes whose size P does not divide, or that are smaller than P (METHODS A6).
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
        bases: M, how many bases are mixed; the paper tries 1 to 5. With one the selector has nothing to choose.
        parts: P, cubes on each axis of the window.
        choice: of a cube's bases: "soft" mixes them (the authors' code; METHODS A5), "hard" mixes them in training and
            takes the best one afterwards, "straight_through" takes the best one (eq. 6-7) with the gradient of the mix.
        noise: who shares the basis noise: "voxel" as in eq. 13, or "cube" or "volume" for coherent samples.
        kl_weight, orthogonality_weight, selection_weight: weights of the paper's regularisers (eq. 8-10).
        kl: direction of the first of them, see `kl_to_unit_variance`.

    Raises:
        BundleError: for fewer than one basis, part or amplitude, or an unknown choice.
    """

    name = "mixture_of_bases"
    paper = "Kampen, Aspe et al., Learned Mixture-of-Bases"
    summary = "voxel amplitudes on bases of class directions that are mixed in every cube"

    def __init__(
        self,
        features: int,
        classes: int,
        rank: int = 16,
        bases: int = 3,
        parts: int = 4,
        choice: Choice = "soft",
        noise: Noise = "voxel",
        kl_weight: float = 5e-4,
        orthogonality_weight: float = 1.0,
        selection_weight: float = 0.05,
        kl: KlDirection = "reverse",
    ) -> None:
        super().__init__(features, classes)
        for name, value in (("bases", bases), ("parts", parts), ("rank", rank)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BundleError(
                    f"mixture_of_bases: '{name}' is a whole number from 1 on, not {value} (the paper: 1 to 5 bases)."
                )
        if choice not in ("soft", "straight_through", "hard"):
            raise BundleError(f"mixture_of_bases: 'choice' is soft, straight_through or hard, not '{choice}'.")
        self.choice, self.noise, self.kl = choice, noise, kl
        self.kl_weight, self.orthogonality_weight = kl_weight, orthogonality_weight
        self.selection_weight = selection_weight
        self.log_variance = log_variance_layer(features, classes)
        self.amplitude = noise_layer(features, rank)
        self.bases = nn.Parameter(torch.randn(bases, classes, rank))
        self.selector = BasisSelector(features, bases, parts)

    @property
    def coherent(self) -> bool:
        return self.noise != "voxel"

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        variance = self.log_variance(features).clamp(-5, 5).exp()
        weights = self.selector(features)
        basis = torch.einsum("bmxyz,mcr->bcrxyz", self._chosen(weights), self.bases)
        covariance = Sum(Basis(self.amplitude(features), basis, self.noise), Diagonal(variance))
        distribution = GaussianLogits(self.mean(features), covariance)
        if not self.training:
            return HeadOutput(distribution)

        def penalties_at(known: Tensor) -> dict[str, Tensor]:
            labelled = known.flatten(1).any(1)  # a window's cubes are mixed by all its features
            return self._penalties(variance.movedim(1, 0)[:, known], weights[labelled])

        return HeadOutput(distribution, penalties=self._penalties(variance, weights), penalties_at=penalties_at)

    def _penalties(self, variance: Tensor, weights: Tensor) -> dict[str, Tensor]:
        return {
            "kl": self.kl_weight * kl_to_unit_variance(variance, self.kl),
            "orthogonality": self.orthogonality_weight * orthogonality(self.bases),
            "selection": self.selection_weight * negative_entropy(weights),
        }

    def _chosen(self, weights: Tensor) -> Tensor:
        """The weights that are used; for all but "soft" they are 1 for one basis of a cube and 0 for the others."""
        if self.choice == "soft" or (self.choice == "hard" and self.training):
            return weights
        best = torch.zeros_like(weights).scatter_(1, weights.argmax(1, keepdim=True), 1.0)
        return best + weights - weights.detach() if self.choice == "straight_through" else best
