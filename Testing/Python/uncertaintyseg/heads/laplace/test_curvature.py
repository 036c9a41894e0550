"""Curvature and posterior against dense matrices built from their definitions (METHODS 4.1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.laplace.curvature import CURVATURES, contrasts, make_curvature

FEATURES, VOXELS = 4, 60


def voxels(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features `[F, n]` and probabilities `[C, n]`."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(FEATURES, VOXELS)), softmax(rng.normal(scale=2, size=(classes, VOXELS)), axis=0)


def summed(structure: str, classes: int, parts: int = 3):
    curvature = make_curvature(structure, FEATURES, classes)
    features, probability = map(torch.tensor, voxels(classes))
    for phi, p in zip(features.chunk(parts, 1), probability.chunk(parts, 1), strict=True):
        curvature.add(phi, p)
    return curvature


def dense_hessian(classes: int) -> np.ndarray:
    """H `[C, F + 1, C, F + 1]`, one voxel after another."""
    features, probability = voxels(classes)
    hessian = np.zeros((classes, FEATURES + 1, classes, FEATURES + 1))
    for phi, p in zip(features.T, probability.T, strict=True):
        augmented = np.append(phi, 1.0)
        hessian += np.einsum("cd,f,g->cfdg", np.diag(p) - np.outer(p, p), augmented, augmented)
    return hessian


def on_contrasts(matrix: np.ndarray, classes: int) -> np.ndarray:
    """What a covariance of weights `[C, F + 1, C, F + 1]` leaves on the contrasts, flattened."""
    q = contrasts(classes).numpy()
    size = (classes - 1) * (FEATURES + 1)
    return np.einsum("ci,cfdg,dj->ifjg", q, matrix, q).reshape(size, size)


def inverse(hessian: np.ndarray, tempering: float, precision: float) -> np.ndarray:
    size = hessian.shape[0] * hessian.shape[1]
    matrix = tempering * hessian.reshape(size, size) + precision * np.eye(size)
    return np.linalg.inv(matrix).reshape(hessian.shape)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_contrasts_are_orthonormal_and_blind_to_a_common_shift(classes):
    q = contrasts(classes)
    assert torch.allclose(q.T @ q, torch.eye(classes - 1, dtype=torch.float64))
    assert q.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_full_posterior_is_the_inverse_of_the_dense_hessian(classes):
    factor = summed("full", classes).solve(0.3, 0.7)["factor"].flatten(0, 1).numpy()
    assert np.allclose(factor @ factor.T, on_contrasts(inverse(dense_hessian(classes), 0.3, 0.7), classes))


def test_the_hessian_is_that_of_the_summed_cross_entropy():
    """By autograd: a linear layer's Gauss-Newton matrix is its Hessian, whatever the labels."""
    features = torch.tensor(voxels(3)[0]).T
    augmented = torch.cat([features, torch.ones(VOXELS, 1)], 1)
    weights = torch.randn(3, FEATURES + 1, dtype=torch.float64)
    target = torch.arange(VOXELS) % 3
    wanted = torch.autograd.functional.hessian(
        lambda w: torch.nn.functional.cross_entropy(augmented @ w.T, target, reduction="sum"), weights
    )
    curvature = make_curvature("full", FEATURES, 3)
    curvature.add(features.T, (augmented @ weights.T).softmax(1).T)
    size = 2 * (FEATURES + 1)
    assert np.allclose(curvature.hessian.reshape(size, size), on_contrasts(wanted.numpy(), 3))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_diagonal_posterior_keeps_the_diagonal_of_the_hessian(classes):
    variance = summed("diagonal", classes).solve(0.3, 0.7)["variance"].numpy()
    wanted = np.einsum("cfcf->cf", dense_hessian(classes))
    assert np.allclose(variance, 1 / (0.3 * wanted + 0.7))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_kronecker_posterior_inverts_the_product_of_the_means(classes):
    features, probability = voxels(classes)
    augmented = np.vstack([features, np.ones(VOXELS)])
    inputs = augmented @ augmented.T / VOXELS
    outputs = np.mean([np.diag(p) - np.outer(p, p) for p in probability.T], axis=0)
    wanted = on_contrasts(inverse(VOXELS * np.einsum("cd,fg->cfdg", outputs, inputs), 0.3, 0.7), classes)
    solved = {name: value.numpy() for name, value in summed("kronecker", classes).solve(0.3, 0.7).items()}
    covariance = np.einsum(
        "cj,fi,ji,dj,gi->cfdg",
        *(solved[name] for name in ("directions", "rotation", "variance", "directions", "rotation")),
    )
    assert np.allclose(on_contrasts(covariance, classes), wanted)
    assert np.abs(np.einsum("cfdg->fdg", covariance)).max() < 1e-10  # nothing along the common shift


def test_the_kronecker_curvature_of_many_classes_holds_no_matrix_a_voxel():
    classes, count = 118, 4096
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(scale=3, size=(classes, count)), dtype=torch.float32)
    curvature = make_curvature("kronecker", FEATURES, classes)
    with torch.profiler.profile(profile_memory=True) as profile:
        curvature.add(torch.ones(FEATURES, count), logits.softmax(0))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 16 * classes * count < 4 * classes**2 * count / 25  # bytes; the last: matrices of all, in float32
    p, q = logits.softmax(0).double().numpy(), contrasts(classes).numpy()
    assert np.allclose(curvature.outputs, q.T @ (np.diag(p.sum(1)) - p @ p.T) @ q, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("structure", CURVATURES)
def test_the_occam_term_is_a_log_determinant(structure):
    curvature = summed(structure, 2)
    values = curvature.eigenvalues.numpy().ravel()
    assert curvature.log_occam(0.5, 2.0) == pytest.approx(np.log(0.5 * values / 2.0 + 1).sum())
    if structure == "full":
        matrix = 0.5 * dense_hessian(2).reshape(10, 10) / 2.0 + np.eye(10)
        assert curvature.log_occam(0.5, 2.0) == pytest.approx(np.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize("structure", CURVATURES)
def test_voxels_may_come_in_any_parts(structure):
    whole, parts = (summed(structure, 3, n).eigenvalues.flatten().sort().values for n in (1, 7))
    assert torch.allclose(whole, parts, atol=1e-9)


@pytest.mark.parametrize("structure", CURVATURES)
def test_a_dead_feature_without_a_prior_leaves_the_posterior_singular(structure):
    features, probability = map(torch.tensor, voxels(2))
    features[1] = 0
    curvature = make_curvature(structure, FEATURES, 2)
    curvature.add(features, probability)
    with pytest.raises(InputError, match=r"posterior is singular at prior precision 0.*raise 'prior_precision'"):
        curvature.solve(1.0, 0.0)
    curvature.solve(1.0, 0.1)


@pytest.mark.parametrize("structure", CURVATURES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_named(structure, value):
    features, probability = map(torch.tensor, voxels(2))
    features[0, 0] = value
    curvature = make_curvature(structure, FEATURES, 2)
    curvature.add(features, probability)
    with pytest.raises(InputError, match="features of the training set hold NaN or infinity"):
        curvature.solve(1.0, 1.0)


def test_an_unknown_structure_is_answered_with_the_known_ones():
    with pytest.raises(BundleError, match=r"no posterior structure 'block'.*full, diagonal, kronecker"):
        make_curvature("block", 2, 2)
