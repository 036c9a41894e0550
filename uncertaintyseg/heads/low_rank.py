"""Stochastic segmentation networks: a low-rank plus diagonal Gaussian over all logits of a volume."""

from __future__ import annotations

from torch import Tensor, nn

from uncertaintyseg.heads.base import Head, HeadOutput
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
    objective = "ssn_joint_marginal"

    def __init__(self, features: int, classes: int, rank: int = 10) -> None:
        super().__init__(features, classes)
        self.rank = rank
        self.log_variance = nn.Conv3d(features, classes, 1)
        self.factor = nn.Conv3d(features, rank * classes, 1)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        nn.init.normal_(self.factor.weight, std=0.05)
        nn.init.zeros_(self.factor.bias)

    @property
    def coherent(self) -> bool:
        return True

    def forward(self, features: Tensor) -> HeadOutput:
        diagonal = self.log_variance(features).clamp(-10, 5).exp() + _EPSILON
        factor = self.factor(features).unflatten(1, (self.rank, self.classes)).transpose(1, 2)
        return HeadOutput(GaussianLogits(self.mean(features), Sum(LowRank(factor), Diagonal(diagonal))))
