"""Three or more classes: moments of a softmax of Gaussian logits at fixed quasi-Monte-Carlo nodes.

The same few nodes serve every voxel, so maps carry no speckle and repeat bit for bit (METHODS 1.3). Only logit
differences to one class matter, which saves a dimension. Nodes are spent on active voxels: where 1 - p_max is
provably tiny the first terms of its expansion are used instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.stats import norm, qmc
from torch import Tensor

from uncertaintyseg.logits.marginal import Marginal

TAIL = 3e-4
"""Voxels where the expansion of `tail_moments` is provably off by less than this in E[p] get no nodes."""
TOP = 7
"""Classes that compete with the most likely one at an active voxel; the others keep their (tiny) bound."""
REST = 5e-4
"""Where the others could hold more than this together, every class competes."""
_PIVOT = 1e-10
_EXTREME = 80.0
"""Of exponents: e^-80 is nothing beside a probability, and not denormal, which takes exp ten times as long."""


def default_nodes(classes: int) -> int:
    """Nodes for at most a quarter of the rms error of 30 random samples (Testing/benchmarks/moments.py)."""
    return 32 if classes <= 4 else 64


@lru_cache(maxsize=32)
def normal_nodes(count: int, dimension: int) -> np.ndarray:
    """Fixed nodes `[count, dimension]` of N(0, I): scrambled Sobol points, whitened to exact mean and covariance."""
    nodes = norm.ppf(qmc.Sobol(dimension, scramble=True, seed=2).random(count).clip(1e-9, 1 - 1e-9))
    nodes -= nodes.mean(0)
    return solve_triangular(np.linalg.cholesky(nodes.T @ nodes / count), nodes.T, lower=True).T


def _nodes_like(delta: Tensor, count: int) -> Tensor:
    count = max(count, 1 << (2 * delta.shape[0] - 1).bit_length())  # fewer cannot have an identity covariance
    return torch.as_tensor(normal_nodes(count, delta.shape[0]), dtype=delta.dtype, device=delta.device)


def all_but(reference: Tensor, classes: int) -> Tensor:
    """The classes other than `reference` `[n]`, in order: `[classes - 1, n]`."""
    others = torch.arange(classes - 1, device=reference.device)[:, None]
    return others + (others >= reference)


def differences(mean: Tensor, marginal: Marginal, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `[D, n]` and Cholesky factor `[D, D, n]` (row, column) of the logits of D classes minus a reference.

    Args:
        mean: logits `[D + 1, n]`, the reference class being given by `reference`.
        marginal: their covariance, diagonal `[D + 1, n]` and factor `[D + 1, K, n]`.
        reference: class to subtract at each voxel, `[n]`.
    """
    index, others = reference[None], all_but(reference, mean.shape[0])
    delta = mean.gather(0, others) - mean.gather(0, index)
    diagonal = marginal.diagonal.gather(0, others)
    common = marginal.diagonal.gather(0, index)[0]
    factor = None
    if marginal.factor is not None:
        rank = marginal.factor.shape[1]
        spread = marginal.factor.gather(0, others[:, None].expand(-1, rank, -1))
        factor = spread - marginal.factor.gather(0, index[:, None].expand(-1, rank, -1))
    return delta, cholesky(diagonal, common, factor)


def cholesky(diagonal: Tensor, common: Tensor, factor: Tensor | None) -> Tensor:
    """Cholesky factor `[D, D, n]` of diag(diagonal) + common 11^T + factor factor^T, unrolled over few classes."""
    size = diagonal.shape[0]
    if size > 2 * TOP:
        return _dense_cholesky(diagonal, common, factor, size * _rounding(diagonal))

    def entry(row: int, column: int) -> Tensor:
        value = common if factor is None else common + (factor[row] * factor[column]).sum(0)
        return value + diagonal[row] if row == column else value

    return unrolled_cholesky(entry, size)


def _rounding(like: Tensor) -> float:
    return 10 * torch.finfo(like.dtype).eps


def unrolled_cholesky(entry: Callable[[int, int], Tensor], size: int) -> Tensor:
    """Cholesky factor `[D, D, n]` of the matrices whose entries (row, column <= row) are `[n]`."""
    zero = torch.zeros_like(entry(0, 0))
    rounding = _rounding(zero)
    rows: list[list[Tensor]] = []
    inverse: list[Tensor] = []  # of the pivots; 0 where one is nothing but rounding, which a division would magnify
    for r in range(size):
        row: list[Tensor] = []
        for c in range(r):
            inner = sum((row[k] * rows[c][k] for k in range(c)), start=zero)
            row.append((entry(r, c) - inner) * inverse[c])
        inner = sum((value.square() for value in row), start=zero)
        variance = entry(r, r)
        left, least = variance - inner, rounding * variance + _PIVOT
        row.append(left.clamp_min(least).sqrt())
        inverse.append(torch.where(left > least, row[-1].reciprocal(), zero))
        rows.append(row)
    return torch.stack([torch.stack([*row, *[zero] * (size - len(row))]) for row in rows])


def _dense_cholesky(diagonal: Tensor, common: Tensor, factor: Tensor | None, rounding: float) -> Tensor:
    sigma = torch.diag_embed(diagonal.T) + common[:, None, None]
    if factor is not None:
        rows = factor.permute(2, 0, 1)
        sigma = sigma + rows @ rows.mT
    largest = sigma.diagonal(dim1=1, dim2=2).amax(1, keepdim=True)
    jitter = torch.diag_embed((rounding * largest + _PIVOT).expand(-1, len(diagonal)))
    return torch.linalg.cholesky(sigma + jitter).permute(1, 2, 0)


def softmax_moments(delta: Tensor, cholesky: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """E[p], E[p^2] `[D + 1, n]` and E[H] `[n]` of the softmax of (0, delta + L z); the reference class comes first."""
    size, voxels = delta.shape
    nodes = _nodes_like(delta, count)
    # With the most likely class as reference delta is rarely positive; the clamp keeps exp finite and no denormal.
    drawn = nodes @ cholesky.transpose(0, 1).reshape(size, -1)
    logits = drawn.view(len(nodes), size, voxels).add_(delta).clamp_(-_EXTREME, _EXTREME)
    p = logits.exp()
    reference = p.sum(1).add_(1).reciprocal_()
    p.mul_(reference[:, None])
    entropy = (logits.mul_(p).sum(1).neg_() - reference.log()).mean(0).clamp_min_(0)
    first = torch.cat([reference.mean(0)[None], p.mean(0)])
    second = torch.cat([reference.square_().mean(0)[None], p.square_().mean(0)])
    return first, second, entropy


def expected_logsumexp(delta: Tensor, cholesky: Tensor, count: int) -> Tensor:
    """E[ln(1 + sum exp(delta + L z))] `[n]`; differentiable."""
    return _logits(delta, cholesky, count).logsumexp(1).mean(0)


def log_expected_softmax(delta: Tensor, cholesky: Tensor, count: int) -> Tensor:
    """Ln E[softmax(0, delta + L z)] `[D + 1, n]`, the reference class first; differentiable."""
    log_p = _logits(delta, cholesky, count).log_softmax(1)
    return log_p.logsumexp(0) - math.log(len(log_p))


def _logits(delta: Tensor, cholesky: Tensor, count: int) -> Tensor:
    """Logits `[count, D + 1, n]` at the nodes, the reference class first."""
    nodes = _nodes_like(delta, count)
    logits = delta + torch.einsum("md,kdn->mkn", nodes, cholesky)
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def tail_moments(mean: Tensor, top: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E[p], E[p^2] `[C, n]`, E[H] `[n]` to first order in the classes' odds, and a bound on their error in E[p] `[n]`.

    For d_c = eta_c - eta_top ~ N(m, v), e^d_c (1 - sum_k e^d_k) <= p_c <= e^d_c, and the moments of e^d are those of a
    log-normal: E[p_c] is off by at most the rivals' summed E[e^(2 d)] times their number, whatever the covariances.

    Args:
        mean: logits, `[C, n]`.
        top: the most likely class, `[n]`.
        variance: v, `[C, n]` (`Marginal.difference_variances`).
    """
    top, v = top[None], variance
    m = mean - mean.gather(0, top)
    p = torch.exp((m + v / 2).clamp_(-_EXTREME, 0)).scatter_(0, top, 0)
    entropy = ((1 - m - v).clamp_min_(0) * p).sum(0)
    square = torch.exp((2 * (m + v)).clamp_(-_EXTREME, _EXTREME)).scatter_(0, top, 0)
    error = (mean.shape[0] - 1) * square.sum(0)
    second = torch.minimum(square, p)
    rest = (1 - p.sum(0)).clamp_min_(0)[None]
    p.scatter_(0, top, rest)
    second.scatter_(0, top, rest.square())
    return p, second, entropy, error
