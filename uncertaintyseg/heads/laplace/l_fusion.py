"""L-FUSION's map: where a Laplace head and a dropout head are both unsure, or differ (paper 000; METHODS 4.5, A23)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import GaussianLogits, LogitDistribution
from uncertaintyseg.measures import predictive_entropy


def logit_variance(
    distribution: LogitDistribution, samples: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """Var[eta] `[B, C, *spatial]`: closed for Gaussian logits, of `samples` draws for others.

    A joint Laplace posterior leaves the shift that is common to all classes out: its variances are those of the logits
    minus their mean over classes.
    """
    if isinstance(distribution, GaussianLogits):
        if distribution.covariance is None:
            return torch.zeros_like(distribution.mean)
        marginal = distribution.covariance.marginal()
        variance = marginal.diagonal if marginal.factor is None else marginal.diagonal + marginal.factor.square().sum(2)
        return variance.reshape(distribution.mean.shape)
    first, second = 0.0, 0.0
    for draw in distribution.sample(samples, generator):
        first, second = first + draw, second + (draw - distribution.mean).square()
    gap = first / samples - distribution.mean
    return (second / samples - gap.square()) * (samples / (samples - 1))


def l_fusion_map(
    laplace: LogitDistribution,
    dropout: LogitDistribution,
    *,
    measure: Tensor | None = None,
    entropy_of: Literal["pooled", "difference"] = "pooled",
    mean_gap: bool = False,
    samples: int = 20,
    generator: torch.Generator | None = None,
) -> Tensor:
    """U = sqrt(mean over classes of Var[eta_L - eta_D]) * H * s, `[B, 1, *spatial]`, not negative.

    The heads are sampled independently, so Var[eta_L - eta_D] = Var eta_L + Var eta_D: no sampling where both are
    Gaussian.

    Args:
        laplace: of the Laplace head.
        dropout: of the dropout head, on the same voxels.
        measure: the single map U~ `[B, 1, *spatial]` whose variance over voxels is s, one number a case; None for
            s = 1. It scales the map of a case, and does not change which of its voxels rank first.
        entropy_of: "pooled" takes the entropy of (E p_L + E p_D) / 2; "difference" that of softmax(E eta_L - E eta_D),
            as the paper writes it, which is largest where the heads AGREE.
        mean_gap: add (E eta_L - E eta_D)^2 to the variance, which the paper's formula does not see.
        samples: draws for a distribution that is not Gaussian.
        generator: of those draws.

    Raises:
        InputError: for distributions of different logits, a measure on other voxels, or an unknown `entropy_of`.
    """
    if laplace.mean.shape != dropout.mean.shape:
        shapes = f"{tuple(laplace.mean.shape)} and {tuple(dropout.mean.shape)}"
        raise InputError(f"the two heads have logits of shapes {shapes}: L-FUSION needs the same voxels and classes.")
    gap = laplace.mean - dropout.mean
    if measure is not None and measure.shape != gap[:, :1].shape:
        raise InputError(f"the measure has shape {tuple(measure.shape)}, not {tuple(gap[:, :1].shape)}.")
    variance = sum(logit_variance(part, samples, generator) for part in (laplace, dropout))
    if mean_gap:
        variance = variance + gap.square()
    if entropy_of == "pooled":
        pooled = (laplace.moments().probability + dropout.moments().probability) / 2
    elif entropy_of == "difference":
        pooled = gap.softmax(1)
    else:
        raise InputError(f"'entropy_of' is '{entropy_of}'; it must be 'pooled' or 'difference'.")
    scale = 1.0 if measure is None else measure.flatten(1).var(1).reshape(-1, 1, 1, 1, 1)
    return variance.mean(1, keepdim=True).clamp_min(0).sqrt() * predictive_entropy(pooled) * scale
