"""What a distribution over logits leaves behind at each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError


def largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of few channels `[C, *voxels]` at each voxel, and the index, uint8, of the first that has it.

    torch's own max and argmax are slow on a short axis.
    """
    best, index = values[0].clone(), torch.zeros(values.shape[1:], dtype=torch.uint8, device=values.device)
    for c in range(1, len(values)):
        better = values[c] > best
        torch.maximum(best, values[c], out=best)
        index.masked_fill_(better, c)
    return best, index


def most_likely(values: Tensor) -> Tensor:
    """Index of the likeliest class at each voxel, int64 `[*voxels]`, of equal ones the first.

    Args:
        values: logits or probabilities of one volume, `[C, *voxels]`, two classes or more; no batch axis.

    Raises:
        InputError: for one channel: a batch of one volume, or a sigmoid logit, of which class 0 would always win.
    """
    if len(values) < 2:
        raise InputError(f"values of shape {tuple(values.shape)} are no [C, *voxels] of 2 classes or more.")
    return largest(values)[1].long()


@dataclass(frozen=True)
class Moments:
    """Moments of p = softmax(logits) at each voxel.

    These three, and not the maps made of them, may be averaged over sliding windows or passes: by the law of
    total variance the average of E[p^2] keeps the disagreement between windows (METHODS 1.7).

    Attributes:
        probability: E[p], `[B, C, *spatial]`.
        second_moment: E[p^2], `[B, C, *spatial]`.
        expected_entropy: E[H(p)] in nats, `[B, 1, *spatial]`.

    Raises:
        InputError: for shapes that do not fit together.
    """

    probability: Tensor
    second_moment: Tensor
    expected_entropy: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.probability.shape)
        wanted = {"probability": shape, "second_moment": shape, "expected_entropy": (*shape[:1], 1, *shape[2:])}
        found = {name: tuple(getattr(self, name).shape) for name in wanted}
        if len(shape) < 3 or found != wanted:
            raise InputError(f"moments of shapes {found} are no [B, C, *spatial] twice and [B, 1, *spatial].")

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
