"""Averages that listen more to whoever is surer: fusion of passes or of methods (METHODS 5.1, 5.3).

Weights come from u = predictive entropy / ln C of each component at each voxel. Of methods, u is that of the method's
mean probability; of single passes it is the pass's own, so that a pass which is sure and wrong gets nearly all the
weight (METHODS A36).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import Moments, Weighting
from uncertaintyseg.measures import predictive_entropy

WeightingName = Literal["mean", "inverse", "exponential", "power"]
_EPSILON = 1e-3
"""Keeps a component with u = 0 from taking everything; with the paper's 1e-6 it does."""
_PAPER_EPSILON = 1e-6
_FORMULAS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mean": lambda u, sharpness: torch.ones_like(u),
    "inverse": lambda u, sharpness: 1 / (u + _EPSILON),
    "exponential": lambda u, sharpness: torch.exp(-sharpness * u),
    "power": lambda u, sharpness: (u + _EPSILON) ** -sharpness,
}
_PAPER_FORMULAS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "mean": lambda entropy, u, sharpness: torch.ones_like(u),
    "inverse": lambda entropy, u, sharpness: 1 / (entropy + _PAPER_EPSILON),
    "exponential": lambda entropy, u, sharpness: torch.exp(-sharpness * entropy),
    # Where every component is fully unsure the code divides 0 by 1e-6; here the plain mean is left.
    "power": lambda entropy, u, sharpness: (1 - u) ** sharpness + _PAPER_EPSILON,
}
WEIGHTINGS = tuple(_FORMULAS)


class Fusion(NamedTuple):
    """Several answers as one.

    Attributes:
        moments: the weighted average of the components' moments; its variance keeps their disagreement.
        uncertainty: the weighted average of their predictive entropies, nats, `[B, 1, *spatial]`.
    """

    moments: Moments
    uncertainty: Tensor


def weighting(name: str, sharpness: float = 1.0, *, faithful: bool = False) -> Weighting:
    """How much a component counts, from its moments: weights `[B, 1, *spatial]` before normalisation.

    Args:
        name: "mean", 1; "inverse", 1/(u + 1e-3); "exponential", exp(-sharpness u); "power", (u + 1e-3)^-sharpness.
        sharpness: lambda or alpha; 0 is the plain mean. "mean" and "inverse" have none.
        faithful: as the paper's code has it (METHODS 5.2): 1e-6, entropies in nats for "inverse" and "exponential",
            and (1 - u)^sharpness for "power".

    Raises:
        InputError: for another name, or a sharpness that is negative or not finite.
    """
    if name not in WEIGHTINGS:
        raise InputError(f"the weighting '{name}' does not exist; choose {', '.join(WEIGHTINGS)}.")
    if not (math.isfinite(sharpness) and sharpness >= 0):
        raise InputError(f"the sharpness {sharpness} of a weighting must be a number from 0 up.")

    def weigh(moments: Moments) -> Tensor:
        entropy = predictive_entropy(moments.probability)
        u = (entropy / math.log(moments.probability.shape[1])).clamp(0, 1)
        return _PAPER_FORMULAS[name](entropy, u, sharpness) if faithful else _FORMULAS[name](u, sharpness)

    return weigh


def fuse(components: Iterable[Moments], weigh: Weighting) -> Fusion:
    """Average moments with weights that sum to 1 at each voxel, one component after another.

    Args:
        components: of the same shape, at least one; a stream is read once and not kept.
        weigh: from `weighting`.

    Raises:
        InputError: for no components, or for components of different shapes.
    """
    total = stack = uncertainty = None
    for moments in components:
        weight, entropy = weigh(moments), predictive_entropy(moments.probability)
        if total is None:
            total, stack, uncertainty = weight.clone(), weight * moments.stacked(), weight * entropy
            continue
        if stack.shape != (own := moments.stacked()).shape:
            raise InputError(
                f"answers of {(own.shape[1] - 1) // 2} classes on {tuple(own.shape[2:])} voxels cannot be fused with "
                f"those of {(stack.shape[1] - 1) // 2} on {tuple(stack.shape[2:])}; take one task and one grid."
            )
        total += weight
        stack.addcmul_(weight.expand_as(own), own)
        uncertainty.addcmul_(weight, entropy)
    if total is None:
        raise InputError("there is nothing to fuse; name at least one component.")
    return Fusion(Moments.unstacked(stack / total), uncertainty / total)
