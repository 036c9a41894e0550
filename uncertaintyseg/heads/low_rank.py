"""Stochastic segmentation networks: a low-rank plus diagonal Gaussian over all logits of a volume."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from uncertaintyseg.heads.base import Head, HeadOutput, log_variance_layer, noise_layer
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum

_EPSILON = 1e-5


class LowRankHead(Head):
    """SSN: eta ~ N(mu, P P^T + D), three 1x1x1 layers on the last features (Monteiro et al. 2020; METHODS 2.1).

    Channel r C + c of the factor layer is column r of class c, so each row of P belongs to one class of one voxel
    (METHODS A14). The factor starts small: at the start the head is the deterministic network.

    Args:
        features: channels F entering the head.
        classes: C, background included.
        rank: R, columns of P.
    """

    name = "low_rank"
    paper = "Monteiro et al. 2020, Stochastic Segmentation Networks"
    summary = "coherent shapes from a low-rank factor over the whole volume (SSN)"
    objective = "ssn_joint_marginal"

    def __init__(self, features: int, classes: int, rank: int = 10) -> None:
        super().__init__(features, classes)
        self.rank = rank
        self.log_variance = log_variance_layer(features, classes)
        self.factor = noise_layer(features, rank * classes)

    @property
    def coherent(self) -> bool:
        return True

    @property
    def voxelwise(self) -> bool:
        return True

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        diagonal = self.log_variance(features).clamp(-10, 5).exp() + _EPSILON
        factor = self.factor(features).unflatten(1, (self.rank, self.classes)).transpose(1, 2)
        return HeadOutput(GaussianLogits(self.mean(features), Sum(LowRank(factor), Diagonal(diagonal))))
