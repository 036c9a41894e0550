"""Nodes of the training likelihoods against dense quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uncertaintyseg.logits import Diagonal, GaussianLogits, quadrature
from uncertaintyseg.logits.training_nodes import BOUND, STEPS, at_enough_nodes


def voxels(spread: float, count: int = 40) -> tuple[Tensor, Tensor]:
    """Means ~ N(0, 9) of two logit differences, and factors of random covariances whose largest sd is `spread`."""
    torch.manual_seed(0)
    delta = 3 * torch.randn(2, count, dtype=torch.float64)
    rows = torch.randn(count, 2, 2, dtype=torch.float64)
    sigma = rows @ rows.mT + 0.1 * torch.eye(2, dtype=torch.float64)
    sigma *= spread**2 / sigma.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    return delta, torch.linalg.cholesky(sigma).permute(1, 2, 0)


def exact(delta: Tensor, cholesky: Tensor) -> tuple[Tensor, Tensor]:
    """E[ln sum exp] `[n]` and ln E[softmax] `[3, n]` by the rectangle rule on [-9, 9]^2."""
    axis = torch.linspace(-9, 9, 361, dtype=torch.float64)
    weight = torch.exp(-(axis**2) / 2)
    weight /= weight.sum()
    z = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    w = (weight[:, None] * weight).flatten()
    expected, log_p = [], []
    for i in range(delta.shape[1]):
        logits = torch.cat([torch.zeros(1, z.shape[1]), delta[:, i : i + 1] + cholesky[..., i] @ z])
        total = logits.logsumexp(0)
        expected.append((w * total).sum())
        log_p.append((w * (logits - total).exp()).sum(1).log())
    return torch.stack(expected), torch.stack(log_p, 1)


@pytest.mark.parametrize("spread", [0.5, 1.5, 1.6, 3.0, 8.0, 12.0])
def test_the_error_stays_below_its_bound_whatever_the_spread(spread):
    delta, cholesky = voxels(spread)
    expected, log_p = exact(delta, cholesky)
    off = at_enough_nodes(quadrature.expected_logsumexp, delta, cholesky) - expected
    assert off.square().mean().sqrt() < BOUND
    likely = log_p > math.log(0.05)
    off = (at_enough_nodes(quadrature.log_expected_softmax, delta, cholesky) - log_p)[likely]
    assert off.square().mean().sqrt() < BOUND


def test_sixteen_nodes_alone_would_not_do_at_a_spread_of_three():
    delta, cholesky = voxels(3.0)
    off = quadrature.log_expected_softmax(delta, cholesky, 16) - exact(delta, cholesky)[1]
    assert off[off > -math.inf].square().mean().sqrt() > BOUND


def test_where_all_are_sure_nothing_is_spent():
    delta, cholesky = voxels(1.0)
    few = quadrature.expected_logsumexp(delta, cholesky, STEPS[0][1])
    assert torch.equal(at_enough_nodes(quadrature.expected_logsumexp, delta, cholesky), few)


def test_each_voxel_has_its_own_nodes_and_keeps_its_place():
    sure, spread, wide = voxels(1.0), voxels(4.0), voxels(20.0)
    order = torch.randperm(120)
    delta, cholesky = (torch.cat(parts, -1)[..., order] for parts in zip(sure, spread, wide, strict=True))
    alone = [
        quadrature.log_expected_softmax(*part, nodes)
        for part, (_, nodes) in zip((sure, spread, wide), STEPS, strict=True)
    ]
    found = at_enough_nodes(quadrature.log_expected_softmax, delta, cholesky)
    torch.testing.assert_close(found, torch.cat(alone, -1)[:, order])


def test_the_gradient_is_that_of_the_nodes_it_used():
    delta, cholesky = (value.requires_grad_() for value in voxels(4.0))
    at_enough_nodes(quadrature.expected_logsumexp, delta, cholesky).sum().backward()
    found = delta.grad.clone(), cholesky.grad.clone()
    delta.grad = cholesky.grad = None
    quadrature.expected_logsumexp(delta, cholesky, 128).sum().backward()
    torch.testing.assert_close(found, (delta.grad, cholesky.grad))


def test_the_cross_entropy_of_a_wide_voxel_is_right():
    variance = torch.full((1, 3, 1, 1, 1), 4.5)  # differences of sd 3
    mean = torch.tensor([0.0, 1.0, -1.0]).reshape(1, 3, 1, 1, 1)
    sigma = torch.tensor([[9.0, 4.5], [4.5, 9.0]], dtype=torch.float64)
    expected, log_p = exact(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), torch.linalg.cholesky(sigma)[..., None])
    logits, target = GaussianLogits(mean, Diagonal(variance)), torch.ones(1, 1, 1, 1, dtype=torch.long)
    assert float(logits.expected_cross_entropy(target)) == pytest.approx(float(expected - 1), abs=BOUND)
    assert float(logits.negative_log_likelihood(target)) == pytest.approx(-float(log_p[1]), abs=BOUND)
