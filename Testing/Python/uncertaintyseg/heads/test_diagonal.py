"""The Diagonal head: variances, not standard deviations, and a gradient through them (METHODS A3, A13)."""

from __future__ import annotations

import torch

from uncertaintyseg.heads.diagonal import DiagonalHead
from uncertaintyseg.training.objectives import HeadLoss


def head_of(classes: int, log_variance: float) -> DiagonalHead:
    torch.manual_seed(0)
    head = DiagonalHead(features=4, classes=classes)
    torch.nn.init.constant_(head.log_variance.bias, log_variance)
    return head


def test_the_layer_is_a_log_variance():
    covariance = head_of(3, 1.5).eval()(torch.randn(1, 4, 3, 3, 3)).distribution.covariance
    assert torch.allclose(covariance.variance, torch.tensor(1.5).exp())


def test_samples_spread_as_the_variance_says():
    distribution = head_of(2, 1.0).eval()(torch.zeros(1, 4, 20, 20, 20)).distribution
    draw = next(distribution.sample(1, torch.Generator().manual_seed(0)))
    assert abs((draw - distribution.mean).var().item() / torch.tensor(1.0).exp().item() - 1) < 0.05


def test_cross_entropy_pushes_every_variance_down_and_likelihood_does_not():
    features, target = torch.randn(1, 4, 6, 6, 6), torch.randint(2, (1, 1, 6, 6, 6))
    signs = {}
    for objective in ("expected_ce", "marginal_nll"):
        output = head_of(2, 0.0).eval()(features)
        output.distribution.covariance.variance.retain_grad()
        HeadLoss(objective, dice_weight=0)(output, target).backward()
        signs[objective] = output.distribution.covariance.variance.grad
    assert (signs["expected_ce"] >= 0).all()
    assert (signs["marginal_nll"] > 0).any()
    assert (signs["marginal_nll"] < 0).any()


def test_the_penalty_is_the_divergence_from_unit_variance():
    head = head_of(2, 0.0).train()
    assert head(torch.randn(1, 4, 3, 3, 3)).penalties["kl"].item() == 0
    assert head_of(2, 2.0).train()(torch.randn(1, 4, 3, 3, 3)).penalties["kl"].item() > 0
