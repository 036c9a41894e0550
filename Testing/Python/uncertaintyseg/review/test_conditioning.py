"""Clicks on Gaussian logits: against quadrature, and what no click may do (METHODS 14)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum
from uncertaintyseg.review.conditioning import ERROR, ClickedVoxel, condition, propagate

SHAPE, SPACING = (6, 5, 4), (1.0, 1.0, 2.0)
VOXELS = math.prod(SHAPE)


def logits(classes: int, rank: int, *, seed: int = 0, own: float = 0.5, scale: float = 1.0) -> GaussianLogits:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    variance = own * normal(1, classes, *SHAPE).square()
    factor = scale * normal(1, classes, rank, *SHAPE)
    return GaussianLogits(2 * normal(1, classes, *SHAPE), Sum(LowRank(factor), Diagonal(variance)))


def clicked(prior: GaussianLogits, *clicks: tuple[int, int], reach: float = math.inf, **options):
    voxels, classes = (torch.tensor(part) for part in zip(*clicks, strict=True))
    return condition(prior, voxels, classes, SPACING, reach_mm=reach, **options)


def difference(prior: GaussianLogits, voxel: int) -> tuple[float, np.ndarray, float]:
    """Mean of eta_1 - eta_0 at a voxel, its row g and its own variance."""
    low_rank, own = prior.covariance.parts
    factor, variance = low_rank.factor.flatten(3)[0, ..., voxel], own.variance.flatten(2)[0, :, voxel]
    mean = prior.mean.flatten(2)[0, :, voxel]
    return float(mean[1] - mean[0]), (factor[1] - factor[0]).numpy(), float(variance.sum())


def by_quadrature(mean: float, shared: float, own: float, error: float = ERROR) -> tuple[float, float]:
    """Mean and variance of a shared N(0, shared) given that mean + shared + own noise was said to be positive."""
    t = np.linspace(-12, 12, 200001)
    weight = np.exp(-t * t / 2) * (error + (1 - 2 * error) * ndtr((mean + np.sqrt(shared) * t) / np.sqrt(own)))
    weight /= weight.sum()
    first = weight @ t
    return np.sqrt(shared) * first, shared * (weight @ t**2 - first**2)


@pytest.mark.parametrize("voxel", [3, 17, 60])
@pytest.mark.parametrize("said", [0, 1])
@pytest.mark.parametrize("reach", [2.0, math.inf])
def test_one_click_agrees_with_quadrature(voxel, said, reach):
    prior = logits(2, 5)
    mean, g, own = difference(prior, voxel)
    sign = 1 if said else -1
    moved, variance = by_quadrature(sign * mean, g @ g, own)
    found_mean, found_variance = clicked(prior, (voxel, said), reach=reach).logits.difference(torch.tensor([voxel]))
    assert float(found_mean) == pytest.approx(mean + sign * moved, abs=1e-4)
    assert float(found_variance) == pytest.approx(variance + own, abs=1e-4)


def test_far_voxels_move_along_the_learned_covariance_and_only_so_far_as_a_click_is_heard():
    prior = logits(2, 5)
    mean, g, own = difference(prior, 3)
    moved, _ = by_quadrature(mean, g @ g, own)
    for reach in (2.0, math.inf):
        after = clicked(prior, (3, 1), reach=reach).logits
        for voxel in (0, 50, 119):
            was, other, _ = difference(prior, voxel)
            d = np.linalg.norm((np.subtract(np.unravel_index(voxel, SHAPE), np.unravel_index(3, SHAPE))) * SPACING)
            wanted = was + np.exp(-0.5 * (d / reach) ** 2) * (other @ g) / (g @ g) * moved
            assert float(after.difference(torch.tensor([voxel]))[0]) == pytest.approx(wanted, abs=1e-6)


def test_the_clicked_voxels_own_noise_moves_with_it_alone():
    prior = logits(2, 3, own=4.0)
    mean, g, own = difference(prior, 9)
    both, variance = by_quadrature(mean, g @ g + own, 1e-12)  # of the whole difference, nothing integrated out
    found_mean, found_variance = clicked(prior, (9, 1)).own.difference()
    assert float(found_mean) == pytest.approx(mean + both, abs=1e-3)
    assert float(found_variance) == pytest.approx(variance, abs=1e-3)


def test_with_nothing_shared_a_click_changes_one_voxel():
    for prior in (logits(3, 0), GaussianLogits(logits(3, 0).mean, logits(3, 0).covariance.parts[1])):
        found = clicked(prior, (7, 2), (11, 0))
        assert found.logits is prior
        assert found.voxels.tolist() == [7, 11]
        assert found.own.moments().probability[0, 2, 0] > prior.moments().probability.flatten(2)[0, 2, 7]
        assert found.own.moments().probability[0, 0, 1] > prior.moments().probability.flatten(2)[0, 0, 11]


@given(st.integers(2, 5), st.integers(0, 16), st.integers(0, 5), st.sampled_from([0.0, 1e-6, 0.5, 50.0]), st.data())
@settings(max_examples=60, deadline=None)
def test_a_click_makes_its_class_likelier_and_a_confirming_one_never_lowers_the_margin(classes, rank, seed, own, data):
    prior = logits(classes, rank, seed=seed, own=own)
    voxel = data.draw(st.integers(0, VOXELS - 1))
    mean = prior.mean.flatten(2)[0, :, voxel]
    said = int(mean.argmax())
    found = clicked(prior, (voxel, said), reach=data.draw(st.sampled_from([1.0, math.inf])))
    before = prior.moments().probability.flatten(2)[0, said, voxel]
    after = found.own.moments().probability[0, said, 0]
    assert after >= before - 2e-3  # nodes, with three classes and more
    if classes == 2:
        assert float((found.own.mean[0, said] - found.own.mean[0, 1 - said]).squeeze()) >= float(
            mean[said] - mean[1 - said]
        )


@given(
    st.integers(1, 5),
    st.integers(0, 16),
    st.sampled_from([0.0, 1e-9, 1.0, 1e4]),
    st.sampled_from([0.0, 1e-5, 1.0, 30.0]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=8),
)
@settings(max_examples=80, deadline=None)
def test_contradictory_clicks_stay_finite_and_the_covariance_one(channels, rank, own, scale, clicks):
    prior = logits(channels, rank, own=own, scale=scale)
    said = {voxel: c % max(channels, 2) for voxel, c in clicks} | {0: 0, 1: 1}  # neighbours, half a voxel's noise apart
    found = clicked(prior, *said.items(), reach=3.0)
    for after in (found.logits, found.own):
        moments = after.moments()
        for values in (moments.probability, moments.variance, moments.expected_entropy):
            assert torch.isfinite(values).all()
        assert (moments.probability >= 0).all()
        assert (moments.probability <= 1 + 1e-6).all()
        if after.covariance is not None:
            sigma = after.covariance.marginal().dense()[0]
            smallest = torch.linalg.eigvalsh(sigma).amin(-1)
            assert (smallest >= -1e-6 * (1 + sigma.diagonal(dim1=1, dim2=2).amax(-1))).all()


@pytest.mark.parametrize("more", [(), ((9, 1), (9, 1))])
def test_a_voxel_that_is_said_to_be_two_classes_is_refused_by_name(more):
    with pytest.raises(InputError, match=r"voxel 5 is clicked as class 0 and 2.*take a click back"):
        clicked(logits(3, 4), (5, 2), *more, (5, 0))


def test_the_order_of_clicks_does_not_matter():
    prior = logits(3, 6)
    clicks = [(4, 1), (90, 0), (33, 2), (34, 2), (5, 0)]
    one, two = clicked(prior, *clicks, reach=4.0), clicked(prior, *clicks[::-1], reach=4.0)
    assert torch.equal(one.logits.mean, two.logits.mean)
    assert torch.equal(one.own.mean, two.own.mean)


def test_propagation_ends_at_the_same_place_whatever_voxel_comes_first():
    generator = np.random.default_rng(0)
    voxels = [
        ClickedVoxel(generator.normal(size=k), generator.normal(size=(k, 6)), 0.3 * np.eye(k)) for k in (1, 2, 1, 2, 2)
    ]
    one, two = propagate(voxels, 6), propagate(voxels[::-1], 6)
    assert np.abs(one.mean - two.mean).max() < 1e-3
    assert np.abs(one.root @ one.root.T - two.root @ two.root.T).max() < 1e-3
    assert one.sweeps < 60


def test_many_clicks_from_one_truth_agree_with_importance_sampling():
    prior, truth = logits(2, 2, own=0.2), 40
    generator = torch.Generator().manual_seed(4)
    drawn = next(prior.sample(1, generator))[0].flatten(1)
    clicks = [(voxel, int(drawn[:, voxel].argmax())) for voxel in (2, 21, 55, 78, 101)]
    z = np.random.default_rng(0).normal(size=(400_000, 2))
    weight = np.ones(len(z))
    for voxel, said in clicks:
        mean, g, own = difference(prior, voxel)
        weight *= ERROR + (1 - 2 * ERROR) * ndtr((2 * said - 1) * (mean + z @ g) / np.sqrt(own))
    mean, g, _ = difference(prior, truth)
    wanted = mean + (weight @ z / weight.sum()) @ g
    found = float(clicked(prior, *clicks).logits.difference(torch.tensor([truth]))[0])
    assert found == pytest.approx(wanted, abs=0.1)


def test_slips_that_are_none_and_logits_that_are_not_finite_are_refused():
    prior = logits(2, 2)
    for error in (0.0, 0.5, -1.0, math.nan):
        with pytest.raises(InputError, match="slips"):
            clicked(prior, (0, 1), error=error)
    prior.mean[0, 0, 0, 0, 0] = math.nan
    with pytest.raises(InputError, match="not finite"):
        clicked(prior, (0, 1))
