"""What a distribution over logits leaves behind at each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def most_likely(mean: Tensor) -> Tensor:
    """Index of the largest of the few classes `[C, *voxels]` at each voxel; torch's argmax is slow on a short axis."""
    best, index = mean[0], torch.zeros(mean.shape[1:], dtype=torch.long, device=mean.device)
    for c in range(1, mean.shape[0]):
        better = mean[c] > best
        best = torch.where(better, mean[c], best)
        index.masked_fill_(better, c)
    return index


@dataclass(frozen=True)
class Moments:
    """Moments of p = softmax(logits) at each voxel.

    These three, and not the maps made of them, may be averaged over sliding windows or passes: by the law of
    total variance the average of E[p^2] keeps the disagreement between windows (METHODS 1.7).

    Attributes:
        probability: E[p], `[B, C, *spatial]`.
        second_moment: E[p^2], `[B, C, *spatial]`.
        expected_entropy: E[H(p)] in nats, `[B, 1, *spatial]`.
    """

    probability: Tensor
    second_moment: Tensor
    expected_entropy: Tensor

    @property
    def variance(self) -> Tensor:
        """Var[p] per class, `[B, C, *spatial]`; never negative."""
        return (self.second_moment - self.probability.square()).clamp_min_(0)

    @classmethod
    def of_point(cls, logits: Tensor) -> Moments:
        """Moments of a distribution with all its mass on `logits` `[B, C, *spatial]` (one channel: a sigmoid)."""
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return cls.of_probability(logits.softmax(1))

    @classmethod
    def of_probability(cls, probability: Tensor) -> Moments:
        """Moments where p `[B, C, *spatial]` itself is certain."""
        entropy = torch.special.entr(probability).sum(1, keepdim=True)
        return cls(probability, probability.square(), entropy)

    def stacked(self) -> Tensor:
        """All moments in one tensor `[B, 2 C + 1, *spatial]`, as sliding windows average them."""
        return torch.cat([self.probability, self.second_moment, self.expected_entropy], dim=1)

    @classmethod
    def unstacked(cls, stack: Tensor) -> Moments:
        """The inverse of `stacked`."""
        classes = (stack.shape[1] - 1) // 2
        return cls(*stack.split([classes, classes, 1], dim=1))
