"""Rows that carry shared latents, and noise after something was learned, against dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uncertaintyseg.logits import Basis, Diagonal, LowRank, Sum
from uncertaintyseg.logits.conditioned import Conditioned, Nearness
from uncertaintyseg.logits.weight_noise import JointWeightNoise, SeparableWeightNoise

SHAPE, SPACING = (3, 4, 2), (1.0, 2.0, 1.5)
VOXELS = math.prod(SHAPE)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def diagonal(classes: int) -> Diagonal:
    return Diagonal(random(1, classes, *SHAPE, seed=5).square())


def structure(name: str, classes: int):
    """Noise that voxels share, in each of its forms."""
    phi = random(1, 3, *SHAPE, seed=1)
    return {
        "low_rank": lambda: LowRank(random(1, classes, 4, *SHAPE)),
        "volume": lambda: Basis(random(1, 3, *SHAPE), random(1, classes, 3, 2, 2, 1, seed=2), "volume"),
        "cube": lambda: Basis(random(1, 3, *SHAPE), random(1, classes, 3, 2, 2, 1, seed=2), "cube"),
        "joint": lambda: JointWeightNoise(phi, random(classes, 4, 5, seed=3)),
        "contrasts": lambda: JointWeightNoise(phi, random(classes - 1, 4, 5, seed=3), random(classes, classes - 1)),
        "weights": lambda: SeparableWeightNoise(phi, random(classes, 4, seed=3).square()),
        "rotated": lambda: SeparableWeightNoise(
            phi, random(classes - 1, 4, seed=3).square(), random(4, 4, seed=4), random(classes, classes - 1)
        ),
        "sum": lambda: Sum(LowRank(random(1, classes, 2, *SHAPE)), JointWeightNoise(phi, random(classes, 4, 5))),
    }[name]()


STRUCTURES = ("low_rank", "volume", "cube", "joint", "contrasts", "weights", "rotated", "sum")


def rows(covariance) -> np.ndarray:
    """P `[C, N, rank]`."""
    return covariance.mixed(torch.eye(covariance.rank, dtype=torch.float64))[0].permute(0, 2, 1).numpy()


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("classes", [2, 3])
def test_rows_times_their_transpose_are_the_marginals(name, classes):
    covariance = structure(name, classes)
    p = rows(covariance)
    assert np.allclose(np.einsum("cnr,dnr->ncd", p, p), covariance.marginal().dense()[0].numpy())


@pytest.mark.parametrize("name", STRUCTURES)
def test_whole_draws_are_rows_times_one_latent(name):
    covariance = structure(name, 3)
    p = rows(covariance).reshape(-1, covariance.rank)
    draw = covariance.noise(torch.Generator().manual_seed(1)).flatten().numpy()
    assert np.allclose(p @ np.linalg.lstsq(p, draw, rcond=None)[0], draw)


@pytest.mark.parametrize("name", STRUCTURES)
def test_two_classes_as_one_channel_have_the_same_difference(name):
    covariance = Sum(structure(name, 2), diagonal(2))
    one = covariance.difference()
    assert one.shape == (1, 1, *SHAPE)
    assert one.rank == covariance.rank
    assert torch.allclose(one.difference_variance(), covariance.difference_variance())
    assert np.allclose(rows(one)[0], rows(covariance)[1] - rows(covariance)[0])


def test_own_noise_is_what_no_other_voxel_shares():
    alone = diagonal(3)
    assert Sum(structure("joint", 3), alone).own().parts == (alone,)
    assert structure("cube", 3).own() is None
    voxel = Basis(random(1, 3, *SHAPE), random(1, 3, 3, 1, 1, 1))
    assert voxel.own() is voxel
    assert voxel.rank == 0
    assert not voxel.mixed(torch.zeros(0, 2), slice(1, 4)).any()


@given(st.sampled_from(STRUCTURES), st.integers(2, 3), st.integers(1, 3), st.sampled_from([1.0, 4.0, math.inf]))
@settings(max_examples=40)
def test_what_is_learned_lowers_the_variance_as_in_the_dense_matrix(name, classes, count, reach):
    prior = Sum(structure(name, classes), diagonal(classes))
    places = torch.tensor([[0, 0, 0], [2, 3, 1], [1, 1, 0]])[:count]
    seen, left = random(count, prior.rank, seed=7), random(count, 2, seed=8) / 4
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3)

    def near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        d = np.linalg.norm((a[:, None] - b[None]) * SPACING, axis=-1)
        return np.exp(-0.5 * (d / reach) ** 2)

    t = seen.numpy() @ seen.numpy().T * near(places.numpy(), places.numpy())
    inverse = np.linalg.pinv(t, rcond=1e-9, hermitian=True)
    cross = np.einsum("cnr,kr->nck", rows(prior), seen.numpy()) * near(index, places.numpy())[:, None]
    gone = inverse - inverse @ left.numpy() @ left.numpy().T @ inverse
    wanted = prior.marginal().dense()[0].numpy() - cross @ gone @ cross.transpose(0, 2, 1)
    proper = np.linalg.eigvalsh(t - left.numpy() @ left.numpy().T).min() > 0
    found = Conditioned(prior, seen, Nearness(places, SHAPE, SPACING, reach), torch.from_numpy(inverse), left)
    if proper:
        assert np.allclose(found.marginal().dense()[0].numpy(), wanted, atol=1e-6)
        assert torch.allclose(found.marginal(torch.tensor([3])).dense(), found.marginal().dense()[:, [3]])
        if classes == 2:
            ends = np.array([-1.0, 1.0])
            assert np.allclose(found.difference_variance()[0].numpy(), ends @ wanted @ ends)
            assert torch.allclose(found.difference().difference_variance(), found.difference_variance())
    weights = random(count, seed=9)
    assert np.allclose(found.shift(weights).numpy(), (cross @ weights.numpy()).T)


def test_draws_have_what_was_learned_at_the_place_and_the_prior_far_from_it():
    prior = LowRank(random(1, 1, 3, 40, 1, 1))
    seen = prior.factor[0, :, :, 0, 0, 0]
    t = float(seen.square().sum())
    near = Nearness(torch.tensor([[0, 0, 0]]), (40, 1, 1), (1.0, 1.0, 1.0), 2.0)
    left = torch.full((1, 1), 0.1, dtype=torch.float64)
    noise = Conditioned(prior, seen, near, torch.full((1, 1), 1 / t, dtype=torch.float64), left)
    draws = torch.stack(list(noise.shared_noise(4000, slice(None), torch.Generator().manual_seed(0))))[:, 0]
    assert draws[:, 0].std() == pytest.approx(0.1, rel=0.05)
    assert draws[:, 39].square().mean() == pytest.approx(float(prior.factor[..., 39, 0, 0].square().sum()), rel=0.1)
