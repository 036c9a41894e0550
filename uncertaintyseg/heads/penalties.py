"""The regularisers of the basis heads (paper 002 eq. 8-10; METHODS 3.3, A1-A4)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

KlDirection = Literal["reverse", "paper"]


def kl_to_unit_variance(variance: Tensor, direction: KlDirection = "reverse") -> Tensor:
    """Mean over elements of the divergence between N(mu, d) and N(mu, 1) (eq. 8; on a variance, METHODS A1-A3).

    "paper" is eq. 8 as it is written, KL(N(mu, 1) || N(mu, d)); "reverse", KL(N(mu, d) || N(mu, 1)), is what the
    authors' code does and what keeps large variances in check.
    """
    if direction == "paper":
        return 0.5 * (variance.reciprocal() - 1 + variance.log()).mean()
    return 0.5 * (variance - 1 - variance.log()).mean()


def weighted_kl(weight: float, variance: Tensor, direction: KlDirection) -> dict[str, Any]:
    """The fields `penalties` and `penalties_at` of a `HeadOutput` whose only penalty is `kl_to_unit_variance`, "kl".

    Args:
        weight: of the penalty.
        variance: `[B, C, *spatial]`.
        direction: of the divergence.
    """

    def weighted(values: Tensor) -> dict[str, Tensor]:
        return {"kl": weight * kl_to_unit_variance(values, direction)}

    return {
        "penalties": weighted(variance),
        "penalties_at": lambda known: weighted(variance.movedim(1, 0)[:, known]),
    }


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
