"""Three and more classes: fixed nodes against random ones, tails, and what the work does not depend on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm, qmc

from Testing.Python.uncertaintyseg.logits import oracles
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum, quadrature

NAMES = ("p", "second", "entropy")


def cases(
    classes: int, count: int, std: float, logit_std: float = 3.0
) -> tuple[GaussianLogits, np.ndarray, np.ndarray]:
    """Random logits with random full covariances: the distribution, and the same as numpy `[n, C]`, `[n, C, C]`."""
    rng = np.random.default_rng(classes)
    mean = logit_std * rng.standard_normal((count, classes))
    factor = std * rng.standard_normal((count, classes, classes)) / np.sqrt(classes)
    diagonal = 0.1 * std**2 * rng.random((count, classes))
    sigma = factor @ factor.transpose(0, 2, 1) + np.einsum("nc,cd->ncd", diagonal, np.eye(classes))
    covariance = Sum(
        LowRank(torch.from_numpy(factor).permute(1, 2, 0)[None, ..., None, None]),
        Diagonal(torch.from_numpy(diagonal).T[None, ..., None, None]),
    )
    return GaussianLogits(torch.from_numpy(mean).T[None, ..., None, None], covariance), mean, sigma


def flat(distribution: GaussianLogits, nodes: int | None = None) -> dict[str, np.ndarray]:
    moments = distribution.moments(nodes)
    return {
        "p": moments.probability[0, ..., 0, 0].T.numpy(),
        "second": moments.second_moment[0, ..., 0, 0].T.numpy(),
        "entropy": moments.expected_entropy[0, 0, :, 0, 0].numpy(),
    }


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


@pytest.mark.parametrize("std", [1.0, 3.0])
@pytest.mark.parametrize("classes", [3, 5])
def test_fixed_nodes_have_a_quarter_of_the_error_of_thirty_samples(classes, std):
    distribution, mean, sigma = cases(classes, 300, std)
    truth = oracles.softmax_moments(mean, sigma)
    draws = torch.stack(list(distribution.sample(30, torch.Generator().manual_seed(0)))).softmax(2)
    sampled = {"p": draws.mean(0), "second": draws.square().mean(0)}
    found = flat(distribution)
    for name, value in sampled.items():
        assert rms(found[name] - truth[name]) < 0.25 * rms(value[0, ..., 0, 0].T.numpy() - truth[name])
    assert rms(found["entropy"] - truth["entropy"]) < 0.02


@pytest.mark.parametrize("classes", [3, 5])
def test_more_nodes_come_closer_to_the_truth(classes):
    distribution, mean, sigma = cases(classes, 100, 3.0)
    truth = oracles.softmax_moments(mean, sigma)
    errors = [max(rms(flat(distribution, nodes)[name] - truth[name]) for name in NAMES) for nodes in (32, 256, 2048)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 1.5e-3


@pytest.mark.parametrize("logit_std", [6.0, 3.0, 0.0])
def test_leaving_out_classes_that_cannot_compete_costs_less_than_a_thousandth(logit_std):
    """12 classes, of which 8 get nodes where the rest is out of reach; at equal logits all of them compete."""
    distribution, mean, sigma = cases(12, 60, 1.0, logit_std)
    truth = oracles.softmax_moments(mean, sigma, log2_nodes=15)
    found = flat(distribution, nodes=2**14)
    assert np.abs(found["p"].sum(1) - 1).max() < 1e-6
    for name, tolerance in zip(NAMES, (1e-3, 1e-3, 5e-3), strict=True):
        error = np.abs(found[name] - truth[name])
        assert error.max() < tolerance


def test_probabilities_of_many_equal_classes_are_equal():
    mean = torch.zeros(1, 40, 2, 1, 1)
    p = GaussianLogits(mean, Diagonal(torch.full_like(mean, 0.5))).moments().probability
    assert torch.allclose(p, torch.full_like(p, 1 / 40), atol=3e-3)
    assert torch.allclose(p.sum(1), torch.ones(1, 2, 1, 1), atol=1e-5)


def test_voxels_without_nodes_are_off_by_less_than_promised():
    distribution, mean, sigma = cases(3, 4000, 1.5, logit_std=9.0)
    top = torch.from_numpy(mean.argmax(1))
    variances = distribution.marginals().item(0).difference_variances(top)
    error = quadrature.tail_moments(torch.from_numpy(mean).T, top, variances)[-1]
    quiet = (error < quadrature.TAIL).numpy()
    assert 400 < quiet.sum() < 3600
    truth = oracles.softmax_moments(mean[quiet][:400], sigma[quiet][:400], log2_nodes=12)
    found = {name: value[quiet][:400] for name, value in flat(distribution).items()}
    for name, tolerance in zip(NAMES, (quadrature.TAIL, 2 * quadrature.TAIL, 1e-3), strict=True):
        assert np.abs(found[name] - truth[name]).max() < tolerance


@pytest.mark.parametrize(("classes", "rank"), [(6, 1), (8, 3), (12, 3), (15, 4), (20, 5)])
def test_fewer_directions_than_classes_are_no_worse_for_it(classes, rank):
    """Most pivots of the Cholesky factor are rounding then; what is divided by them is rounding enlarged."""
    torch.manual_seed(0)
    factor, mean = torch.randn(1, classes, rank, 400, 1, 1), torch.randn(1, classes, 400, 1, 1)
    found = GaussianLogits(mean, LowRank(factor)).moments()
    z = torch.from_numpy(norm.ppf(qmc.Sobol(rank, seed=3).random(2**12).clip(1e-9, 1 - 1e-9)))
    f, m = factor[0, ..., 0, 0].double(), mean[0, ..., 0, 0].double()
    truth = torch.zeros_like(m)
    for part in z.split(256):
        truth += (m[None] + torch.einsum("crn,zr->zcn", f, part)).softmax(1).sum(0) / len(z)
    error = (found.probability[0, ..., 0, 0] - truth).abs()
    assert error.max() < 0.08
    assert error.square().mean().sqrt() < 0.012
    assert torch.isfinite(found.expected_entropy).all()


@pytest.mark.parametrize("jitter", [0.0, 1e-5, 1e-3])
def test_a_singular_covariance_of_large_scale_does_no_harm(jitter):
    """Five classes, one shared direction of standard deviation 20: a Cholesky factor full of zero pivots."""
    torch.manual_seed(0)
    factor, mean = 20 * torch.randn(1, 5, 1, 300, 1, 1), 3 * torch.randn(1, 5, 300, 1, 1)
    diagonal = torch.full_like(mean, jitter)
    found = GaussianLogits(mean, Sum(LowRank(factor), Diagonal(diagonal))).moments().probability
    double = GaussianLogits(mean.double(), Sum(LowRank(factor.double()), Diagonal(diagonal.double())))
    assert (found - double.moments().probability).abs().max() < 3e-3
    z = np.linspace(-8, 8, 4001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    logits = mean[0, :, :, 0, 0, None].double() + factor[0, :, 0, :, 0, 0, None].double() * torch.from_numpy(z)
    truth = (logits.softmax(0) * torch.from_numpy(weight)).sum(-1)
    error = (found[0, ..., 0, 0].double() - truth).abs()
    assert error.square().mean().sqrt() < 0.01


def test_nodes_have_zero_mean_and_identity_covariance():
    for count, dimension in ((16, 2), (32, 4), (64, 7), (64, 20)):
        nodes = quadrature.normal_nodes(count, dimension)
        assert np.abs(nodes.mean(0)).max() < 1e-12
        assert np.abs(nodes.T @ nodes / count - np.eye(dimension)).max() < 1e-12


@pytest.mark.parametrize("classes", [4, 20])
def test_the_triangular_factor_is_that_of_numpy(classes):
    rng = np.random.default_rng(0)
    diagonal, common, factor = rng.random((classes, 7)) + 0.1, rng.random(7), rng.standard_normal((classes, 3, 7))
    found = quadrature.cholesky(*(torch.from_numpy(a) for a in (diagonal, common, factor))).numpy()
    for n in range(7):
        sigma = np.diag(diagonal[:, n]) + common[n] + factor[..., n] @ factor[..., n].T
        assert np.allclose(found[..., n], np.linalg.cholesky(sigma))


@pytest.mark.parametrize("classes", [4, 20])
def test_a_triangular_factor_exists_for_singular_covariances_too(classes):
    zero, factor = torch.zeros(classes, 5), 30 * torch.randn(classes, 2, 5, generator=torch.Generator().manual_seed(0))
    for rows in (factor, None):
        found = quadrature.cholesky(zero, zero[0], rows)
        sigma = torch.zeros(5, classes, classes) if rows is None else torch.einsum("ckn,dkn->ncd", rows, rows)
        again = torch.einsum("ckn,dkn->ncd", found, found)
        assert (again - sigma).abs().max() < 1e-4 * max(sigma.max(), 1e-3)


def test_the_block_size_does_not_show(monkeypatch):
    distribution, _, _ = cases(5, 500, 2.0)
    whole = distribution.moments().stacked()
    monkeypatch.setattr("uncertaintyseg.logits.gaussian._TAIL_BLOCK", 33)
    monkeypatch.setattr("uncertaintyseg.logits.gaussian._NODE_BLOCK", 5000)
    assert torch.allclose(whole, distribution.moments().stacked(), atol=1e-12)


def test_memory_grows_with_neither_nodes_nor_rank():
    program = """
import resource, torch
from uncertaintyseg.logits import Basis, GaussianLogits
torch.set_num_threads(1)
mean = torch.randn(1, 3, 48, 48, 48)
def peak(nodes, rank):
    basis = torch.randn(1, 3, rank, 1, 1, 1)
    GaussianLogits(mean, Basis(torch.randn(1, rank, 1, 1, 1).expand(1, rank, 48, 48, 48), basis)).moments(nodes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak(32, 2), peak(128, 2), peak(32, 64))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    few, many_nodes, high_rank = map(float, result.stdout.split())
    volume = 3 * 48**3 * 4 / 2**20
    assert many_nodes - few < 10 * volume  # at 128 nodes at once it would be 250 of them
    assert high_rank - many_nodes < 10 * volume
