"""Two classes: the closed form against quadrature (golden tests 1 to 3 of the method notes)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from scipy.stats import norm

from Testing.Python.uncertaintyseg.logits import oracles
from uncertaintyseg.logits import Diagonal, GaussianLogits
from uncertaintyseg.logits.closed_form import (
    SCALES,
    WEIGHTS,
    expected_softplus,
    log_expected_sigmoid,
    sigmoid_moments,
    sigmoid_moments_,
)
from uncertaintyseg.measures import risk_maps


@pytest.fixture(scope="module")
def grid():
    """Means and standard deviations of METHODS 1.2, flattened."""
    mean, std = np.meshgrid(np.linspace(-20, 12, 41), np.geomspace(1e-3, 20, 19), indexing="ij")
    return mean.ravel(), std.ravel()


@pytest.fixture(scope="module")
def truth(grid):
    return oracles.sigmoid_moments(*grid)


def two_classes(mean, variance, dtype=torch.float64) -> GaussianLogits:
    """Logits (0, mean) with all the variance on class 1, `[1, 2, n, 1, 1]`."""
    mean = torch.as_tensor(mean, dtype=dtype)[None, None, :, None, None]
    variance = torch.as_tensor(variance, dtype=dtype)[None, None, :, None, None].expand_as(mean)
    pad = torch.zeros_like
    return GaussianLogits(torch.cat([pad(mean), mean], 1), Diagonal(torch.cat([pad(variance), variance], 1)))


def test_the_mixture_of_normals_is_the_logistic_function():
    x = np.linspace(-60, 60, 120_001)
    mixture = sum(w * norm.cdf(s * x) for w, s in zip(WEIGHTS, SCALES, strict=True))
    assert abs(math.fsum(WEIGHTS) - 1) < 1e-14
    assert np.abs(mixture - expit(x)).max() < 2.2e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 3e-8), (torch.float32, 2e-6)])
def test_maps_agree_with_quadrature(grid, truth, dtype, tolerance):
    mean, std = grid
    moments = two_classes(mean, std**2, dtype).moments()
    maps = {name: value.flatten().double().numpy() for name, value in risk_maps(moments, ["x"]).items()}
    p, q = truth["p"], 1 - truth["p"]
    entropy = -(np.where(p > 0, p * np.log(p), 0) + np.where(q > 0, q * np.log(q), 0))
    assert np.abs(maps["probability_x"] - p).max() < tolerance
    assert np.abs(maps["variance_x"] - (truth["second"] - p**2)).max() < tolerance
    # an entropy multiplies the error of p by a logit of up to 17 before it fades: 4.12e-8 is the mixture's supremum
    assert np.abs(maps["expected_entropy"] - truth["entropy"]).max() < 1.5 * tolerance
    assert np.abs(maps["predictive_entropy"] - entropy).max() < 2 * tolerance
    assert np.abs(maps["mutual_information"] - (entropy - truth["entropy"])).max() < 3 * tolerance
    assert np.abs(moments.probability[0, 0].flatten().double().numpy() - q).max() < tolerance


def test_the_expected_softplus_agrees_with_quadrature(grid, truth):
    mean, std = grid
    found = expected_softplus(torch.from_numpy(mean), torch.from_numpy(std**2))
    assert np.abs(found.numpy() - truth["softplus"]).max() < 3e-8


def test_without_variance_the_moments_are_those_of_the_sigmoid():
    mean = np.linspace(-20, 20, 401)
    moments = two_classes(mean, np.zeros_like(mean)).moments()
    maps = {name: value.flatten().numpy() for name, value in risk_maps(moments, ["x"]).items()}
    assert np.abs(maps["probability_x"] - expit(mean)).max() < 2.2e-9
    assert maps["variance_x"].max() < 2e-8
    assert np.abs(maps["expected_entropy"] - maps["predictive_entropy"]).max() < 6e-8
    assert maps["mutual_information"].max() < 6e-8


def test_a_mean_of_zero_gives_one_half_for_every_variance():
    variance = torch.logspace(-6, 6, 50, dtype=torch.float64)
    found = sigmoid_moments(torch.zeros_like(variance), variance)
    assert torch.allclose(found.probability, torch.full_like(variance, 0.5), atol=1e-15)


def test_turning_the_sign_of_the_mean_exchanges_the_classes():
    mean = torch.linspace(0, 30, 61, dtype=torch.float64)
    variance = torch.linspace(0, 9, 61, dtype=torch.float64)
    one, other = two_classes(mean, variance).moments(), two_classes(-mean, variance).moments()
    for a, b in zip(one.stacked().split([2, 2, 1], 1), other.stacked().split([2, 2, 1], 1), strict=True):
        assert torch.allclose(a, b.flip(1), atol=1e-13)


def test_the_blockwise_form_equals_the_differentiable_one():
    torch.manual_seed(0)
    mean, variance = torch.randn(3000) * 8, torch.rand(3000) * 40
    for a, b in zip(sigmoid_moments(mean, variance), sigmoid_moments_(mean, variance), strict=True):
        assert torch.allclose(a, b, atol=3e-7)


def test_the_block_size_does_not_show(monkeypatch):
    distribution = two_classes(torch.randn(1000) * 5, torch.rand(1000), torch.float32)
    with torch.no_grad():
        whole = distribution.moments().stacked()
        monkeypatch.setattr("uncertaintyseg.logits.gaussian._CLOSED_BLOCK", 77)
        assert torch.equal(whole, distribution.moments().stacked())


def test_the_moments_have_the_gradient_of_quadrature():
    mean = torch.tensor([-6.0, -1.0, 0.3, 5.0], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([0.5, 4.0, 0.1, 30.0], dtype=torch.float64, requires_grad=True)
    two_classes(mean, variance).moments().probability[0, 1].sum().backward()
    m, v, step = mean.detach().numpy(), variance.detach().numpy(), 1e-4
    by_mean = [oracles.sigmoid_moments(m + h, np.sqrt(v))["p"] for h in (-step, step)]
    by_variance = [oracles.sigmoid_moments(m, np.sqrt(v + h))["p"] for h in (-step, step)]
    assert np.abs(mean.grad.numpy() - (by_mean[1] - by_mean[0]) / (2 * step)).max() < 3e-8
    assert np.abs(variance.grad.numpy() - (by_variance[1] - by_variance[0]) / (2 * step)).max() < 3e-8


def test_the_log_likelihood_agrees_with_quadrature(grid, truth):
    mean, std = grid
    kept = truth["p"] > 1e-6  # further out the mixture is no more exact relative to p
    found = log_expected_sigmoid(torch.from_numpy(mean[kept]), torch.from_numpy(std[kept] ** 2))
    assert np.abs(found.numpy() - np.log(truth["p"][kept])).max() < 3e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_log_likelihood_of_a_point_mass_is_the_cross_entropy_far_out_too(dtype):
    mean = torch.linspace(-200, 200, 4001, dtype=dtype)
    found = log_expected_sigmoid(mean, torch.zeros_like(mean)).double().numpy()
    assert np.abs(found - log_expit(mean.double().numpy())).max() < 0.12
    far = np.abs(mean.numpy()) > 22
    assert np.abs(found - log_expit(mean.double().numpy()))[far].max() < 1e-4


def test_the_log_likelihood_has_a_finite_gradient_where_the_probability_underflows():
    mean = torch.tensor([-1e3, -300.0, 300.0, 1e3], requires_grad=True)
    variance = torch.tensor([0.0, 50.0, 148.0, 1e-8], requires_grad=True)
    loss = -log_expected_sigmoid(mean, variance).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(mean.grad).all()
    assert torch.isfinite(variance.grad).all()
    assert (mean.grad[:2] < 0).all()
