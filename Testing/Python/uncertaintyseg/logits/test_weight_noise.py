"""Noise from uncertain weights against dense matrices: Sigma_n = phi~_n^T S phi~_n (METHODS 1.1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.logits import oracles
from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.logits.weight_noise import JointWeightNoise, SeparableWeightNoise

FEATURES = 3
SHAPES = st.sampled_from([(1, 1, 1), (2, 3, 1), (4, 3, 2)])
CLASSES = st.sampled_from([2, 3, 5])
KINDS = ("joint", "triangular", "joint in directions", "diagonal", "kronecker")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise_of(kind: str, features: torch.Tensor, classes: int) -> tuple[object, np.ndarray]:
    """A structure, and the covariance `[C (F + 1), C (F + 1)]` of its weights."""
    inputs = features.shape[1] + 1
    if kind == "joint":
        factor = random(classes, inputs, 4, seed=1)
        rows = factor.reshape(-1, 4).numpy()
        return JointWeightNoise(features, factor), rows @ rows.T
    if kind == "triangular":
        rows = random(classes * inputs, classes * inputs, seed=1).tril()
        factor = rows.unflatten(0, (classes, inputs))
        return JointWeightNoise(features, factor, triangular=True), (rows @ rows.T).numpy()
    if kind == "diagonal":
        variance = random(classes, inputs, seed=1).square()
        return SeparableWeightNoise(features, variance), np.diag(variance.numpy().ravel())
    directions = random(classes, classes - 1, seed=2)
    if kind == "joint in directions":
        factor = random(classes - 1, inputs, 5, seed=1)
        rows = np.einsum("cj,jfk->cfk", directions, factor).reshape(-1, 5)
        return JointWeightNoise(features, factor, directions), rows @ rows.T
    variance, rotation = random(classes - 1, inputs, seed=1).square(), random(inputs, inputs, seed=3)
    covariance = np.einsum("cj,fi,ji,dj,gi->cfdg", directions, rotation, variance, directions, rotation)
    size = classes * inputs
    return SeparableWeightNoise(features, variance, rotation, directions), covariance.reshape(size, size)


def joint(features: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Covariance `[C N, C N]` of all logits of features `[F, N]`."""
    augmented = np.vstack([features, np.ones(features.shape[1])])
    blocks = weights.reshape(classes, len(augmented), classes, len(augmented))
    size = classes * features.shape[1]
    return np.einsum("fn,cfdg,gm->cndm", augmented, blocks, augmented).reshape(size, size)


@given(SHAPES, CLASSES, st.integers(1, 2), st.sampled_from(KINDS))
def test_marginals_are_blocks_of_the_dense_matrix(shape, classes, batch, kind):
    features = random(batch, FEATURES, *shape)
    covariance, weights = noise_of(kind, features, classes)
    assert covariance.shape == (batch, classes, *shape)
    voxels = features[0, 0].numel()
    for chosen in (slice(None), slice(0, 1), torch.tensor([voxels - 1, 0])):
        dense = covariance.marginal(chosen).dense().numpy()
        for b in range(batch):
            wanted = oracles.marginals(joint(features[b].flatten(1).numpy(), weights, classes), classes)
            assert np.allclose(dense[b], wanted[chosen], rtol=1e-7, atol=1e-8)
            if classes == 2:
                ends = np.array([-1.0, 1.0])
                found = covariance.difference_variance(chosen)[b].numpy()
                assert np.allclose(found, (ends @ wanted @ ends)[chosen])


@pytest.mark.parametrize("kind", KINDS)
def test_one_draw_of_the_weights_serves_the_whole_volume(kind):
    features = random(1, FEATURES, 2, 1, 2)
    covariance, weights = noise_of(kind, features.expand(30_000, -1, -1, -1, -1), 2)
    flat = covariance.noise(torch.Generator().manual_seed(0)).flatten(1).numpy()
    wanted = joint(features[0].flatten(1).numpy(), weights, 2)
    scale = np.sqrt(np.outer(wanted.diagonal(), wanted.diagonal()))
    assert np.abs(flat.T @ flat / len(flat) - wanted).max() < 0.02 * scale.max()
    assert covariance.shared


@pytest.mark.parametrize("kind", KINDS)
def test_the_variance_is_that_of_200_000_networks(kind):
    """Golden test 9: the variance of the linear model against samples of its weights, 1 %."""
    features = random(1, FEATURES, 3, 1, 1)
    covariance, weights = noise_of(kind, features, 2)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(len(weights)), weights, 200_000, method="eigh")
    augmented = np.vstack([features.flatten(2)[0].numpy(), np.ones(3)])
    logits = draws.reshape(-1, 2, FEATURES + 1) @ augmented
    found = covariance.difference_variance()[0].numpy()
    assert np.allclose((logits[:, 1] - logits[:, 0]).var(0), found, rtol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_no_column_for_each_weight_is_left_at_a_voxel(kind):
    features = random(1, FEATURES, 4, 4, 2)
    factor = noise_of(kind, features, 3)[0].marginal().factor
    assert factor is None or factor.shape[2] <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_float32_moments_agree_with_float64(kind, classes):
    features, mean = random(1, FEATURES, 5, 4, 3), 2 * random(1, classes, 5, 4, 3, seed=9)
    exact = GaussianLogits(mean, noise_of(kind, features, classes)[0]).moments().stacked()
    covariance = noise_of(kind, features, classes)[0]
    for name, value in vars(covariance).items():
        if isinstance(value, torch.Tensor):
            setattr(covariance, name, value.float())
    assert (GaussianLogits(mean.float(), covariance).moments().stacked() - exact).abs().max() < 2e-4


def test_a_posterior_of_other_features_is_refused():
    with pytest.raises(InputError, match="over 5 weights a class, the features make 4"):
        JointWeightNoise(random(1, 3, 2, 2, 2), random(2, 5, 2))
    with pytest.raises(InputError, match="2 class directions and weights for 1"):
        SeparableWeightNoise(random(1, 3, 2, 2, 2), random(1, 4), None, random(3, 2))
