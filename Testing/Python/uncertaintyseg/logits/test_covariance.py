"""Covariance structures against dense matrices built from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.logits import oracles
from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import Basis, Diagonal, LowRank, Sum

SHAPES = st.sampled_from([(1, 1, 1), (2, 3, 1), (5, 4, 3), (1, 7, 2)])
CLASSES = st.sampled_from([1, 2, 3, 5, 12])
NOISES = ("voxel", "cube", "volume")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tile(tensor: torch.Tensor, draws: int) -> torch.Tensor:
    """The same parameters for many volumes of a batch, so that one draw of noise is many."""
    return tensor.expand(draws, *tensor.shape[1:])


def empirical(noise: torch.Tensor) -> np.ndarray:
    """Covariance `[C N, C N]` of draws `[draws, C, *S]`."""
    flat = noise.flatten(1).numpy()
    return flat.T @ flat / len(flat)


def assert_covariances_agree(found: np.ndarray, wanted: np.ndarray, tolerance: float = 0.02) -> None:
    scale = np.sqrt(np.outer(wanted.diagonal(), wanted.diagonal()))
    assert np.abs(found - wanted).max() / scale.max() < tolerance
    assert np.abs(found.diagonal() / wanted.diagonal() - 1).max() < tolerance


def check_marginals(covariance, wanted: list[np.ndarray]) -> None:
    """Every way to ask for the marginals, for each volume of the batch; `wanted` holds joint covariances."""
    classes, voxels = covariance.shape[1], covariance.shape[2:].numel()
    dense = covariance.marginal().dense().numpy()
    assert dense.shape == (len(wanted), voxels, classes, classes)
    for b, joint in enumerate(wanted):
        sigma = oracles.marginals(joint, classes)
        assert np.allclose(dense[b], sigma)
        if classes <= 2:
            ends = np.array([-1.0, 1.0])[-classes:]
            assert np.allclose(covariance.difference_variance()[b].numpy(), ends @ sigma @ ends)
    index = torch.tensor([voxels - 1, 0])
    assert np.allclose(covariance.marginal(index).dense().numpy(), dense[:, index])
    assert np.allclose(covariance.marginal(slice(1, None)).dense().numpy(), dense[:, 1:])
    if classes <= 2:
        assert np.allclose(covariance.difference_variance(index), covariance.difference_variance()[:, index])


@given(SHAPES, CLASSES, st.integers(1, 2), st.integers(1, 4))
def test_low_rank_marginals_are_blocks_of_the_dense_matrix(shape, classes, batch, rank):
    factor = random(batch, classes, rank, *shape)
    covariance = LowRank(factor)
    assert covariance.shape == (batch, classes, *shape)
    check_marginals(covariance, [oracles.low_rank_joint(f) for f in factor.numpy()])


@given(SHAPES, CLASSES, st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.sampled_from(NOISES))
def test_basis_marginals_are_blocks_of_the_dense_matrix(shape, classes, batch, rank, parts, noise):
    cubes = tuple(min(parts, size) for size in shape)
    amplitude, basis = random(batch, rank, *shape), random(batch, classes, rank, *cubes, seed=1)
    pairs = zip(amplitude.numpy(), basis.numpy(), strict=True)
    check_marginals(Basis(amplitude, basis, noise), [oracles.basis_joint(a, b, noise) for a, b in pairs])


@given(SHAPES, CLASSES, st.integers(1, 2))
def test_a_sum_adds_its_parts(shape, classes, batch):
    variance, factor = random(batch, classes, *shape).square(), random(batch, classes, 2, *shape)
    amplitude, basis = random(batch, 3, *shape), random(batch, classes, 3, 1, 1, 1)
    wanted = [
        oracles.low_rank_joint(f) + oracles.basis_joint(a, b, "voxel") + np.diag(d.ravel())
        for f, a, b, d in zip(factor.numpy(), amplitude.numpy(), basis.numpy(), variance.numpy(), strict=True)
    ]
    check_marginals(Sum(LowRank(factor), Basis(amplitude, basis), Diagonal(variance)), wanted)


def test_a_diagonal_alone_has_no_factor():
    variance = random(2, 3, 2, 2, 1).square()
    for covariance in (Diagonal(variance), Sum(Diagonal(variance))):
        marginal = covariance.marginal()
        assert marginal.factor is None
        assert torch.equal(torch.diagonal(marginal.dense(), dim1=2, dim2=3), variance.flatten(2).transpose(1, 2))


def test_the_factor_of_one_class_and_voxel_changes_only_that_row():
    factor = random(1, 3, 4, 2, 2, 1)
    before = oracles.low_rank_joint(factor[0].numpy())
    noise = LowRank(factor).noise(torch.Generator().manual_seed(0))
    changed = factor.clone()
    changed[0, 1, :, 0, 1, 0] += 1
    after = LowRank(changed).noise(torch.Generator().manual_seed(0))
    rows = np.flatnonzero((oracles.low_rank_joint(changed[0].numpy()) != before).all(1))
    assert rows.tolist() == [1 * 4 + 1]
    assert (noise != after).nonzero().tolist() == [[0, 1, 0, 1, 0]]


@pytest.mark.parametrize(("shape", "parts"), [((7, 5, 9), (4, 4, 4)), ((4, 6, 3), (3, 4, 2))])
def test_cubes_may_be_of_unequal_size(shape, parts):
    labels = torch.arange(float(np.prod(parts))).reshape(1, 1, 1, *parts)
    per_voxel = Basis(torch.ones(1, 1, *shape), labels).marginal().factor.reshape(shape)
    for voxel in np.ndindex(*shape):
        assert per_voxel[voxel] == labels[(0, 0, 0, *oracles.cube_of(voxel, shape, parts))]
    assert per_voxel.unique().numel() == np.prod(parts)


@pytest.mark.parametrize("noise", NOISES)
def test_basis_noise_is_shared_as_its_scope_says(noise):
    amplitude, basis = random(1, 3, 3, 1, 2), random(1, 2, 3, 2, 1, 2, seed=1)
    covariance = Basis(tile(amplitude, 100_000), tile(basis, 100_000), noise)
    found = empirical(covariance.noise(torch.Generator().manual_seed(3)))
    assert_covariances_agree(found, oracles.basis_joint(amplitude[0].numpy(), basis[0].numpy(), noise))
    assert covariance.shared == (noise != "voxel")


def test_low_rank_and_diagonal_noise_have_their_covariances():
    factor, variance = random(1, 2, 3, 2, 1, 2), random(1, 2, 2, 1, 2).square() + 0.1
    covariance = Sum(LowRank(tile(factor, 100_000)), Diagonal(tile(variance, 100_000)))
    wanted = oracles.low_rank_joint(factor[0].numpy()) + np.diag(variance[0].numpy().ravel())
    assert_covariances_agree(empirical(covariance.noise(torch.Generator().manual_seed(0))), wanted)
    assert covariance.shared
    assert not Diagonal(variance).shared


def test_covariances_of_different_logits_do_not_add():
    with pytest.raises(InputError, match=r"\(1, 2, 3, 3, 3\).*\(1, 2, 4, 3, 3\)"):
        Sum(Diagonal(torch.ones(1, 2, 3, 3, 3)), Diagonal(torch.ones(1, 2, 4, 3, 3)))


def test_a_basis_of_another_rank_is_refused():
    with pytest.raises(InputError, match="rank 3, amplitude has 2"):
        Basis(torch.ones(1, 2, 4, 4, 4), torch.ones(1, 2, 3, 1, 1, 1))


def test_a_volume_may_be_smaller_than_its_grid_of_cubes():
    per_voxel = Basis(torch.ones(1, 1, 3, 4, 1), torch.arange(64.0).reshape(1, 1, 1, 4, 4, 4)).marginal().factor
    assert per_voxel.flatten().tolist() == [16 * x + 4 * y for x in (0, 1, 2) for y in range(4)]
