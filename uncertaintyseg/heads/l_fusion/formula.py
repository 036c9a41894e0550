"""L-FUSION's maps: where one path, or both together, are unsure of their logits (paper 000; METHODS 4.5, A23).

U_fused = sqrt(Var[eta_L - eta_D]) o H * s: s, the variance over voxels of another map, is one number a case, which no
window knows; it is put in when all of the case is there (`Head.scaled_by`).

Adding the same to all logits of a voxel changes no probability, so logits are here those minus their mean over classes:
variances then do not depend on how a path happens to write its logits.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import GaussianLogits, LogitEnsemble, Moments
from uncertaintyseg.measures import predictive_entropy

EntropyOf = Literal["pooled", "difference"]
_BLOCK = 2**16
_SMALLEST = 1e-30
"""Probabilities below count as this in logarithms."""


class PathLogits(NamedTuple):
    """What a path says, each `[B, C, *spatial]`.

    Attributes:
        mean: of the logits, minus their mean over classes.
        variance: of the same.
        probability: E[p].
    """

    mean: Tensor
    variance: Tensor
    probability: Tensor


def of_gaussian(distribution: GaussianLogits) -> PathLogits:
    """A path with Gaussian logits: without sampling."""
    mean = distribution.mean
    variance = torch.zeros_like(mean).flatten(2)
    for start in range(0, variance.shape[2] if distribution.covariance is not None else 0, _BLOCK):
        block = slice(start, start + _BLOCK)
        marginal, classes = distribution.covariance.marginal(block), mean.shape[1]
        own = marginal.diagonal
        variance[..., block] = own * (1 - 2 / classes) + own.sum(1, keepdim=True) / classes**2
        if marginal.factor is not None:
            variance[..., block] += _centred(marginal.factor).square().sum(2)
    return PathLogits(_centred(mean), variance.reshape(mean.shape), distribution.moments().probability)


def seen_by_passes(moments: Moments) -> Tensor:
    """What is averaged over passes that are one logit vector each, for `of_passes`: `[B, 2 C, *spatial]`.

    ln p, and the square of ln p minus its mean over classes, which is the logit minus its mean over classes.
    """
    log_p = moments.probability.clamp_min(_SMALLEST).log()
    return torch.cat([log_p, _centred(log_p).square()], dim=1)


def of_passes(ensemble: LogitEnsemble) -> PathLogits:
    """A path of passes that are one logit vector each, from what `seen_by_passes` leaves of them."""
    log_p, squares = ensemble.beside.chunk(2, dim=1)
    mean = _centred(log_p)
    unbiased = ensemble.count / max(ensemble.count - 1, 1)
    variance = (squares - mean.square()).clamp_min(0) * unbiased
    return PathLogits(mean, variance, ensemble.moments().probability)


def pairwise_kl_of_passes(ensemble: LogitEnsemble) -> Tensor:
    """Mean of KL(p_i || p_j) over pairs of different passes, nats, `[B, 1, *spatial]`; `also` is `seen_by_passes`.

    It is (sum_c E[p_c ln p_c] - E[p_c] E[ln p_c]) n / (n - 1), all of it averages.
    """
    moments, (log_p, _) = ensemble.moments(), ensemble.beside.chunk(2, dim=1)
    crossed = (moments.probability * log_p).sum(1, keepdim=True)
    unbiased = ensemble.count / max(ensemble.count - 1, 1)
    return ((-moments.expected_entropy - crossed) * unbiased).clamp_min(0)


def inter_path(
    laplace: PathLogits, dropout: PathLogits, *, entropy_of: EntropyOf = "pooled", mean_gap: bool = False
) -> Tensor:
    """sqrt(mean over classes of Var[eta_L - eta_D]) * H, `[B, 1, *spatial]`, not negative.

    The paths are drawn independently, so Var[eta_L - eta_D] = Var eta_L + Var eta_D.

    Args:
        laplace: one path.
        dropout: the other, on the same voxels.
        entropy_of: "pooled" takes the entropy of (E p_L + E p_D) / 2; "difference" that of softmax(E eta_L - E eta_D),
            as the paper writes it, which is largest where the paths AGREE.
        mean_gap: add (E eta_L - E eta_D)^2 to the variance, which the paper's formula does not see.

    Raises:
        InputError: for paths of different logits, or an unknown `entropy_of`.
    """
    if laplace.mean.shape != dropout.mean.shape:
        shapes = f"{tuple(laplace.mean.shape)} and {tuple(dropout.mean.shape)}"
        raise InputError(f"the two paths have logits of shapes {shapes}: L-FUSION needs the same voxels and classes.")
    gap = laplace.mean - dropout.mean
    variance = laplace.variance + dropout.variance
    if mean_gap:
        variance = variance + gap.square()
    if entropy_of == "pooled":
        pooled = (laplace.probability + dropout.probability) / 2
    elif entropy_of == "difference":
        pooled = gap.softmax(1)
    else:
        raise InputError(f"'entropy_of' is '{entropy_of}'; it must be 'pooled' or 'difference'.")
    return variance.mean(1, keepdim=True).sqrt() * predictive_entropy(pooled)


def intra_path(path: PathLogits) -> Tensor:
    """The same within a path, of two independent draws: sqrt(mean over classes of 2 Var eta) * H(E p)."""
    return (2 * path.variance.mean(1, keepdim=True)).sqrt() * predictive_entropy(path.probability)


def _centred(values: Tensor) -> Tensor:
    """Minus the mean over classes, axis 1."""
    return values - values.mean(1, keepdim=True)
