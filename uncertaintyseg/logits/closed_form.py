"""Two classes: moments of a sigmoid of a Gaussian logit, without sampling.

The logistic function is a scale mixture of normal CDFs, sigma(x) ~ sum_j w_j Phi(s_j x), here with the eight
terms of Monahan and Stefanski (error below 2.2e-9 everywhere). A Gaussian logit m, v then keeps every integral
closed. With t_j = 1 / sqrt(1 / s_j^2 + v) and z_j = m t_j (METHODS 1.2):

    E[sigma]    = sum w_j Phi(z_j)
    E[sigma']   = sum w_j t_j phi(z_j) = g        and sigma^2 = sigma - sigma'
    E[H(sigma)] = sum w_j t_j phi(z_j) / s_j^2    (Stein's identity leaves only positive terms)
    E[softplus] = m E[sigma] + v g + E[H(sigma)]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS = (
    0.003246343272134,
    0.051517477033972,
    0.195077912673858,
    0.315569823632818,
    0.274149576158423,
    0.131076880695470,
    0.027912418727972,
    0.001449567805354,
)
SCALES = (
    1.365340806296348,
    1.059523971016916,
    0.830791313765644,
    0.650732166639391,
    0.508135425366489,
    0.396313345166341,
    0.308904252267995,
    0.238212616409306,
)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_INV_SQRT_2 = 1 / math.sqrt(2)


class SigmoidMoments(NamedTuple):
    """Moments of sigma(x), x ~ N(m, v): E[sigma], E[sigma'] and E[H(sigma)] in nats."""

    probability: Tensor
    derivative: Tensor
    entropy: Tensor


def sigmoid_moments(mean: Tensor, variance: Tensor) -> SigmoidMoments:
    """Moments of a sigmoid of N(mean, variance); differentiable in both.

    Args:
        mean: logit differences eta_1 - eta_0, any shape.
        variance: their variances, same shape, not negative.
    """
    probability = derivative = entropy = torch.zeros((), dtype=mean.dtype, device=mean.device)
    for weight, scale in zip(WEIGHTS, SCALES, strict=True):
        t = (variance + scale**-2).rsqrt()
        z = mean * t
        density = t * torch.exp(-0.5 * z.square())
        probability = probability + 0.5 * weight * torch.erfc(z * -_INV_SQRT_2)
        derivative = derivative + weight * _INV_SQRT_2PI * density
        entropy = entropy + weight * scale**-2 * _INV_SQRT_2PI * density
    return SigmoidMoments(probability, derivative, entropy)


def sigmoid_moments_(mean: Tensor, variance: Tensor) -> SigmoidMoments:
    """`sigmoid_moments` without autograd, in a few reused buffers: faster on a block that fits the cache."""
    probability, derivative, entropy = torch.zeros_like(mean), torch.zeros_like(mean), torch.zeros_like(mean)
    t, z = torch.empty_like(mean), torch.empty_like(mean)
    for weight, scale in zip(WEIGHTS, SCALES, strict=True):
        torch.add(variance, scale**-2, out=t).rsqrt_()
        torch.mul(mean, t, out=z).mul_(_INV_SQRT_2)
        t.mul_(z.square().neg_().exp_())
        probability.add_(z.neg_().erfc_(), alpha=0.5 * weight)
        derivative.add_(t, alpha=weight * _INV_SQRT_2PI)
        entropy.add_(t, alpha=weight * scale**-2 * _INV_SQRT_2PI)
    return SigmoidMoments(probability.clamp_max_(1), derivative, entropy)  # the weights' sum is rounded


def expected_softplus(mean: Tensor, variance: Tensor) -> Tensor:
    """E[ln(1 + e^x)] for x ~ N(mean, variance); the expected cross-entropy of class 0."""
    moments = sigmoid_moments(mean, variance)
    return mean * moments.probability + variance * moments.derivative + moments.entropy


def log_expected_sigmoid(mean: Tensor, variance: Tensor) -> Tensor:
    """Logarithm of E[sigma(x)] for x ~ N(mean, variance), with a gradient also where E[sigma] underflows.

    Far out the mixture falls like a Gaussian and sigma only like an exponential; there Jensen's bound
    ln E[sigma(x)] >= -E[softplus(-x)] is closer, and exact without variance.
    """
    terms = [
        math.log(weight) + torch.special.log_ndtr(mean * (variance + scale**-2).rsqrt())
        for weight, scale in zip(WEIGHTS, SCALES, strict=True)
    ]
    return torch.maximum(torch.logsumexp(torch.stack(terms), dim=0), -expected_softplus(-mean, variance))
