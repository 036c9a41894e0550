"""The split of LSN against nested quadrature and nested Monte-Carlo (METHODS 4.2)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax, xlogy
from scipy.stats import norm, qmc

from uncertaintyseg.heads.laplace.split import LARGEST_KL, split_info, split_maps
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum
from uncertaintyseg.measures import predictive_entropy

CASES = 12


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def binary_entropy(p: np.ndarray) -> np.ndarray:
    p = p.clip(0, 1)
    return -xlogy(p, p) - xlogy(1 - p, 1 - p)


def flat(maps: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.flatten().numpy() for name, value in maps.items()}


@pytest.mark.parametrize("std", [0.1, 1.0, 3.0, 8.0])
def test_two_classes_agree_with_nested_quadrature(std):
    mean = 3 * random(1, 2, CASES, 1, 1)
    own, weights = random(1, 2, CASES, 1, 1, seed=1).exp(), torch.full((1, 2, CASES, 1, 1), std**2 / 2).double()
    found = flat(split_maps(mean, Diagonal(own), Diagonal(weights)))
    z = np.linspace(-9, 9, 801)
    w = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    delta, inner = (mean[0, 1] - mean[0, 0]).flatten().numpy(), own.sum(1).flatten().numpy()
    for n in range(CASES):
        given_weights = expit((delta[n] + std * z)[:, None] + np.sqrt(inner[n]) * z) @ w
        aleatoric, total = w @ binary_entropy(given_weights), binary_entropy(w @ given_weights)
        assert found["aleatoric_entropy"][n] == pytest.approx(aleatoric, abs=2e-6)
        assert found["epistemic_entropy"][n] == pytest.approx(total - aleatoric, abs=2e-6)
        p = expit(delta[n] + std * z)
        assert found["epistemic_variance"][n] == pytest.approx(w @ p**2 - (w @ p) ** 2, abs=1e-6)
        assert found["expected_pairwise_kl"][n] == pytest.approx(min(std**2 / inner[n], LARGEST_KL))


@pytest.mark.parametrize("classes", [3, 5])
@pytest.mark.parametrize(("std", "rms"), [(0.5, 0.004), (1.0, 0.010), (3.0, 0.027)])
def test_more_classes_are_within_a_stated_error_of_many_nodes(classes, std, rms):
    """RMS error in nats, at logits with `std` of each kind; the authors' 50 x 20 samples are further off."""
    rank, cases, rng = 3, 16, np.random.default_rng(0)
    mean, own = 2 * random(1, classes, cases, 1, 1), random(1, classes, cases, 1, 1, seed=1).sigmoid() * std**2
    factor = std / math.sqrt(rank) * random(1, classes, rank, cases, 1, 1, seed=2)
    found = flat(split_maps(mean, Diagonal(own), LowRank(factor)))
    outer, inner = (norm.ppf(qmc.Sobol(d, seed=3).random_base2(n)) for d, n in ((rank, 10), (classes, 8)))
    aleatoric, total, sampled = [], [], []
    for n in range(cases):
        m, d, f = (part[0, ..., n, 0, 0].numpy() for part in (mean, own, factor))

        def given_weights(z: np.ndarray, e: np.ndarray, m=m, d=d, f=f) -> np.ndarray:
            return softmax((m + z @ f.T)[:, None] + e * np.sqrt(d), axis=2).mean(1)

        p = given_weights(outer, inner)
        aleatoric.append(-xlogy(p, p).sum(1).mean())
        total.append(-xlogy(p.mean(0), p.mean(0)).sum())
        few = given_weights(rng.normal(size=(50, rank)), rng.normal(size=(20, classes)))
        sampled.append(-xlogy(few, few).sum(1).mean())

    def error(values: np.ndarray, wanted: np.ndarray) -> float:
        return np.sqrt(np.square(np.array(values) - wanted).mean())

    left = error(found["aleatoric_entropy"], aleatoric)
    assert left < rms
    assert error(found["epistemic_entropy"], np.array(total) - aleatoric) < rms
    assert left < 0.7 * error(sampled, aleatoric)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_divergence_is_that_of_torch(classes):
    mean = random(1, classes, 6, 1, 1)
    own, factor = random(1, classes, 6, 1, 1, seed=1).exp(), random(1, classes, 2, 6, 1, 1, seed=2)
    found = flat(split_maps(mean, Diagonal(own), LowRank(factor)))["expected_pairwise_kl"]
    to_first = np.hstack([-np.ones((classes - 1, 1)), np.eye(classes - 1)])
    for n in range(6):
        aleatoric = to_first @ np.diag(own[0, :, n, 0, 0].numpy()) @ to_first.T
        row = factor[0, :, :, n, 0, 0].numpy()
        epistemic = to_first @ row @ row.T @ to_first.T
        assert found[n] == pytest.approx(min(np.trace(np.linalg.solve(aleatoric, epistemic)), LARGEST_KL), rel=1e-6)
        # E KL(N(m, A) || N(m', A)) for two draws m, m' of the weights
        draws = np.random.default_rng(0).normal(size=(2, 20_000, 2)) @ (to_first @ row).T
        gap = draws[0] - draws[1]
        sampled = 0.5 * np.einsum("ni,ij,nj->n", gap, np.linalg.inv(aleatoric), gap).mean()
        assert sampled == pytest.approx(np.trace(np.linalg.solve(aleatoric, epistemic)), rel=0.06)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_maps_have_their_shapes_and_stay_in_their_ranges(classes):
    mean = (20 * random(2, classes, 3, 4, 2)).float()
    own, factor = random(2, classes, 3, 4, 2, seed=1).mul(3).exp().float(), 5 * random(2, classes, 2, 3, 4, 2).float()
    maps = split_maps(mean, Diagonal(own), LowRank(factor))
    for name, info in split_info(classes).items():
        assert maps[name].shape == (2, 1, 3, 4, 2)
        assert torch.isfinite(maps[name]).all()
        assert info.range[0] <= maps[name].min()
        assert maps[name].max() <= info.range[1] + 1e-6


@pytest.mark.parametrize("classes", [2, 4])
def test_both_parts_add_up_to_the_predictive_entropy(classes):
    mean, own = 2 * random(1, classes, 30, 1, 1), random(1, classes, 30, 1, 1, seed=1).exp()
    weights = Diagonal(random(1, classes, 30, 1, 1, seed=2).exp())
    maps = split_maps(mean, Diagonal(own), weights)
    total = GaussianLogits(mean, Sum(Diagonal(own), weights)).moments().probability
    parts = maps["aleatoric_entropy"] + maps["epistemic_entropy"]
    assert torch.allclose(parts, predictive_entropy(total), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_certain_weights_leave_nothing_epistemic(classes):
    mean, own = random(1, classes, 8, 1, 1), random(1, classes, 8, 1, 1, seed=1).exp()
    maps = split_maps(mean, Diagonal(own), Diagonal(torch.zeros_like(own)))
    assert maps["epistemic_entropy"].max() < (1e-6 if classes == 2 else 2e-2)
    assert maps["epistemic_variance"].max() < 1e-6
    assert maps["expected_pairwise_kl"].max() < 1e-6
