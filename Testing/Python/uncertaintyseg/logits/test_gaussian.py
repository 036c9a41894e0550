"""Gaussian logits: which maps follow from which covariance, likelihoods, and samplers (golden tests 3 to 8)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from Testing.Python.uncertaintyseg.logits import oracles
from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import Basis, Diagonal, GaussianLogits, LowRank, Sum, quadrature
from uncertaintyseg.measures import risk_maps


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_sum(
    classes: int, shape: tuple[int, ...], batch: int = 1, dtype: torch.dtype = torch.float64, noise: str = "voxel"
):
    """Every structure at once."""
    cubes = tuple(min(2, size) for size in shape)
    return Sum(
        LowRank(random(batch, classes, 2, *shape)),
        Basis(random(batch, 3, *shape), random(batch, classes, 3, *cubes, seed=2), noise),
        Diagonal(random(batch, classes, *shape, seed=3).square()),
    )


@given(
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 2),
    st.sampled_from([(1, 1, 1), (3, 1, 2), (4, 5, 2)]),
    st.sampled_from(["diagonal", "low_rank", "basis", "sum"]),
)
def test_moments_depend_on_the_marginals_alone(classes, batch, shape, kind):
    whole = a_sum(classes, shape, batch)
    covariance = (
        whole if kind == "sum" else dict(zip(("low_rank", "basis", "diagonal"), whole.parts, strict=True))[kind]
    )
    mean = 2 * random(batch, classes, *shape, seed=4)
    moments = GaussianLogits(mean, covariance).moments()
    flat_mean = mean.flatten(2).transpose(1, 2).flatten(0, 1).numpy()
    sigma = covariance.marginal().dense().flatten(0, 1).numpy()
    if classes == 1:
        truth = oracles.sigmoid_moments(flat_mean[:, 0], np.sqrt(sigma[:, 0, 0]), points=4001)
        p, second = truth["p"], truth["second"]
        wanted = {
            "p": np.stack([1 - p, p], 1),
            "second": np.stack([1 - 2 * p + second, second], 1),
            "entropy": truth["entropy"],
        }
    else:
        wanted = oracles.softmax_moments(flat_mean, sigma, log2_nodes=12)
    tolerance = 0.06 if classes > 2 else 2e-3 if classes == 2 else 1e-7
    for name, found in zip(wanted, (moments.probability, moments.second_moment, moments.expected_entropy), strict=True):
        flat = found.flatten(2).transpose(1, 2).flatten(0, 1).numpy().squeeze(-1 if name == "entropy" else ())
        assert np.abs(flat - wanted[name]).max() < tolerance
    assert moments.probability.shape == (batch, max(classes, 2), *shape)
    assert moments.expected_entropy.shape == (batch, 1, *shape)


def test_a_single_basis_and_a_diagonal_of_equal_variance_give_identical_maps():
    mean, amplitude, basis = random(1, 2, 5, 4, 3), random(1, 4, 5, 4, 3, seed=1), random(1, 2, 4, 1, 1, 1, seed=2)
    b = (basis[0, 1] - basis[0, 0]).flatten()
    variance = (amplitude.square() * b.square()[:, None, None, None]).sum(1, keepdim=True)
    one = GaussianLogits(mean, Basis(amplitude, basis)).moments()
    other = GaussianLogits(mean, Diagonal(variance.expand(1, 2, 5, 4, 3) / 2)).moments()
    maps, others = risk_maps(one, ["x"]), risk_maps(other, ["x"])
    for name, value in maps.items():
        assert torch.allclose(value, others[name], atol=1e-13), name


def test_one_sigmoid_channel_equals_two_classes():
    mean, variance = random(2, 1, 3, 2, 1), random(2, 1, 3, 2, 1, seed=1).square()
    one = GaussianLogits(mean, Diagonal(variance)).moments()
    two = GaussianLogits(
        torch.cat([-mean / 2, mean / 2], 1), Diagonal(variance.expand(-1, 2, -1, -1, -1) / 2)
    ).moments()
    assert torch.allclose(one.stacked(), two.stacked(), atol=1e-14)


def test_who_shares_the_noise_changes_volumes_but_not_maps():
    shape = (6, 6, 4)
    mean, amplitude = random(1, 2, *shape), 1.5 + random(1, 2, *shape, seed=1)
    basis = random(1, 2, 2, 2, 2, 2, seed=2)
    spread = {}
    moments = {}
    for noise in ("voxel", "cube", "volume"):
        distribution = GaussianLogits(mean, Basis(amplitude, basis, noise))
        moments[noise] = distribution.moments().stacked()
        volumes = [(logits[:, 1] > logits[:, 0]).sum().item() for logits in distribution.sample(400, generator())]
        spread[noise] = np.var(volumes)
        assert distribution.coherent == (noise != "voxel")
    assert torch.equal(moments["voxel"], moments["cube"])
    assert torch.equal(moments["voxel"], moments["volume"])
    assert spread["volume"] > 2 * spread["cube"] > 4 * spread["voxel"]


def test_the_variance_of_a_diagonal_gets_gradient_from_samples_too():
    variance = torch.full((1, 2, 2, 2, 1), 0.5, requires_grad=True)
    target = torch.tensor([[1, 0], [1, 1]]).reshape(1, 2, 2, 1)
    for logits in GaussianLogits(random(1, 2, 2, 2, 1, dtype=torch.float32), Diagonal(variance)).sample(2, generator()):
        torch.nn.functional.cross_entropy(logits, target).backward(retain_graph=True)
    assert (variance.grad != 0).all()


@pytest.mark.parametrize(("classes", "rounding"), [(1, 0.0), (2, 0.0), (3, 0.01)])
def test_expected_cross_entropy_only_ever_asks_for_less_variance(classes, rounding):
    """Exactly so in closed form, up to the error of a few nodes for more classes."""
    mean = 3 * random(1, classes, 6, 6, 6)
    log_variance = random(1, classes, 6, 6, 6, seed=1).requires_grad_()
    target = torch.randint(max(classes, 2), (1, 6, 6, 6), generator=generator())
    distribution = GaussianLogits(mean, Diagonal(log_variance.exp()))
    (by_expected,) = torch.autograd.grad(
        distribution.expected_cross_entropy(target).sum(), log_variance, retain_graph=True
    )
    (by_marginal,) = torch.autograd.grad(distribution.negative_log_likelihood(target).sum(), log_variance)
    assert (by_expected >= -rounding).all()
    assert by_marginal.min() < -1e-3
    assert by_marginal.max() > 1e-3


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
def test_both_likelihoods_agree_with_quadrature(classes):
    mean, variance = 2 * random(1, classes, 4, 2, 2), random(1, classes, 4, 2, 2, seed=1).square()
    distribution = GaussianLogits(mean, Diagonal(variance))
    flat, sigma = mean.flatten(2)[0].T, torch.diag_embed(variance.flatten(2)[0].T)
    if classes == 1:  # the background's logit is 0, without noise
        flat, sigma = torch.nn.functional.pad(flat, (1, 0)), torch.nn.functional.pad(sigma, (1, 0, 1, 0))
    nodes = random(2**14, max(classes, 2), seed=9)
    logits = flat[:, None] + nodes @ sigma.sqrt()
    for target in range(max(classes, 2)):
        chosen = torch.full((1, 4, 2, 2), target)
        own = logits.log_softmax(-1)[..., target]
        expected = distribution.expected_cross_entropy(chosen).flatten()
        marginal = distribution.negative_log_likelihood(chosen).flatten()
        assert (expected + own.mean(1)).abs().max() < 0.15
        assert (torch.exp(-marginal) - own.exp().mean(1)).abs().max() < 0.05
        assert (marginal <= expected + 1e-9).all()


@pytest.mark.parametrize("classes", [1, 2, 3, 12, 20])
def test_a_point_mass_has_the_moments_and_the_loss_of_a_plain_network(classes):
    mean = 4 * random(2, classes, 3, 2, 2, dtype=torch.float32)
    distribution, moments = GaussianLogits(mean), GaussianLogits(mean).moments()
    logits = torch.cat([torch.zeros_like(mean), mean], 1) if classes == 1 else mean
    assert torch.allclose(moments.probability, logits.softmax(1))
    assert torch.equal(moments.variance, torch.zeros_like(moments.probability))
    target = torch.randint(logits.shape[1], (2, 3, 2, 2), generator=generator())
    plain = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    assert torch.allclose(distribution.expected_cross_entropy(target), plain, atol=2e-5)
    assert torch.allclose(distribution.negative_log_likelihood(target), plain, atol=2e-5)
    assert not distribution.coherent
    assert distribution.marginals() is None
    assert all(torch.equal(draw, mean) for draw in distribution.sample(2))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("variance", [0.0, 1e-12, float(np.exp(5)), 1e4])
def test_no_variance_and_huge_variance_stay_finite(classes, variance):
    mean = 10 * random(1, classes, 3, 3, 3, dtype=torch.float32)
    leaf = torch.full_like(mean, variance).requires_grad_()
    distribution = GaussianLogits(mean, Diagonal(leaf))
    with torch.no_grad():
        moments = distribution.moments()
    assert torch.isfinite(moments.stacked()).all()
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, 3, 3, 3), atol=1e-5)
    assert (moments.variance <= 0.25 + 1e-6).all()
    if variance <= 1e-12:
        exact = 2e-6 if classes <= 2 else quadrature.TAIL
        assert torch.allclose(moments.probability, mean.softmax(1), rtol=0, atol=exact)
    target = torch.randint(classes, (1, 3, 3, 3), generator=generator())
    loss = distribution.expected_cross_entropy(target) + distribution.negative_log_likelihood(target)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("noise", ["voxel", "volume"])
def test_the_collapsed_sampler_has_the_law_of_the_full_one(noise):
    """One draw each of 40000 equal volumes of two voxels."""
    draws = 40_000
    covariance = a_sum(3, (2, 1, 1), noise=noise)
    tiled = Sum(
        LowRank(covariance.parts[0].factor.expand(draws, -1, -1, -1, -1, -1)),
        Basis(
            covariance.parts[1].amplitude.expand(draws, -1, -1, -1, -1),
            covariance.parts[1].basis.expand(draws, *[-1] * 5),
            noise,
        ),
        Diagonal(covariance.parts[2].variance.expand(draws, *[-1] * 4)),
    )
    mean = random(1, 3, 2, 1, 1, seed=8)
    (collapsed,) = GaussianLogits(mean.expand(draws, *[-1] * 4), tiled).sample(1, generator(1))
    collapsed = (collapsed - mean).flatten(1).numpy()
    full = tiled.noise(generator(2)).flatten(1).numpy()
    scale = full.T @ full / draws
    assert np.abs(collapsed.T @ collapsed / draws - scale).max() < 0.04 * scale.max()
    assert np.abs(collapsed.mean(0)).max() < 0.03 * np.sqrt(scale.max())
    direction = np.array([1.0, -0.5, 2.0, 0.3, -1.0, 1.0])
    assert ks_2samp(collapsed @ direction, full @ direction).pvalue > 1e-3


def test_the_same_seed_draws_the_same_samples_bit_for_bit():
    distribution = GaussianLogits(random(1, 3, 4, 4, 4), a_sum(3, (4, 4, 4)))
    one, two = (list(distribution.sample(3, generator(5))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], next(distribution.sample(1, generator(6))))


def test_moments_repeat_bit_for_bit_and_need_no_generator():
    distribution = GaussianLogits(random(1, 3, 4, 4, 4), a_sum(3, (4, 4, 4)))
    before = torch.get_rng_state()
    assert torch.equal(distribution.moments().stacked(), distribution.moments().stacked())
    assert torch.equal(before, torch.get_rng_state())


def test_a_covariance_of_other_logits_is_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 3, 3, 3\).* mean .*\(1, 2, 3, 3, 4\)"):
        GaussianLogits(torch.zeros(1, 2, 3, 3, 4), Diagonal(torch.ones(1, 2, 3, 3, 3)))
