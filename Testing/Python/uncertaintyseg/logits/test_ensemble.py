"""A stream of passes as one distribution: running sums, never a stack (METHODS 1.7, 5.3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr, softmax

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import Diagonal, GaussianLogits, LogitEnsemble, Moments
from uncertaintyseg.measures import risk_maps

SHAPE = (2, 3, 2)


def passes(count: int, classes: int = 3, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(1, classes, *SHAPE, generator=generator, dtype=torch.float64) for _ in range(count)]


def ensemble(logits: list[torch.Tensor], weighting=None) -> LogitEnsemble:
    return LogitEnsemble(lambda: (GaussianLogits(one) for one in logits), len(logits), weighting)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 1000))
def test_running_moments_are_those_of_the_stack(count, classes, seed):
    logits = passes(count, classes, seed)
    p = softmax(np.stack([one.numpy() for one in logits]), axis=2)
    found = ensemble(logits).moments()
    np.testing.assert_allclose(found.probability, p.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.variance, p.var(0), atol=1e-12)
    np.testing.assert_allclose(found.expected_entropy, entr(p).sum(2, keepdims=True).mean(0), atol=1e-12)
    np.testing.assert_allclose(ensemble(logits).mean, np.mean([one.numpy() for one in logits], axis=0), atol=1e-12)


def test_passes_that_are_distributions_obey_the_law_of_total_variance():
    parts = [GaussianLogits(mean, Diagonal(torch.rand_like(mean) * 2)) for mean in passes(3)]
    whole = LogitEnsemble(lambda: iter(parts), 3).moments()
    each = [part.moments() for part in parts]
    within = torch.stack([m.variance for m in each]).mean(0)
    between = torch.stack([m.probability for m in each]).var(0, correction=0)
    assert torch.allclose(whole.variance, within + between)


def test_equal_passes_disagree_about_nothing():
    logits = passes(1) * 4
    maps = risk_maps(ensemble(logits).moments(), ["a", "b"])
    assert maps["variance"].max() == pytest.approx(0, abs=1e-12)
    assert maps["mutual_information"].max() == pytest.approx(0, abs=1e-12)


def test_the_stream_is_read_once_for_moments_and_mean():
    starts = []

    def stream():
        starts.append(1)
        yield from map(GaussianLogits, passes(3))

    distribution = LogitEnsemble(stream, 3)
    assert not starts
    for _ in range(2):
        distribution.moments()
        _ = distribution.mean
    assert len(starts) == 1


def test_no_more_than_one_pass_is_alive_at_a_time():
    alive, most = set(), 0

    class Pass(GaussianLogits):
        def __init__(self, mean):
            nonlocal most
            super().__init__(mean)
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self):
            alive.discard(id(self))

    LogitEnsemble(lambda: (Pass(one) for one in passes(8)), 8).moments()
    assert most <= 2  # one is made while the last is let go


def test_weights_are_normalised_at_every_voxel():
    logits = passes(3)

    def weigh(moments: Moments) -> torch.Tensor:
        return 5 * moments.probability[:, :1]

    p = softmax(np.stack([one.numpy() for one in logits]), axis=2)
    weight = p[:, :, :1] / p[:, :, :1].sum(0)
    found = ensemble(logits, weigh)
    np.testing.assert_allclose(found.moments().probability, (weight * p).sum(0), atol=1e-12)
    np.testing.assert_allclose(found.moments().probability.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(found.mean, (weight * np.stack([one.numpy() for one in logits])).sum(0), atol=1e-12)


def test_equal_weights_are_the_plain_mean():
    logits = passes(4)
    weighted = ensemble(logits, lambda moments: torch.full_like(moments.expected_entropy, 0.3)).moments().stacked()
    assert torch.allclose(weighted, ensemble(logits).moments().stacked())


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_weights_that_do_not_add_up_are_refused(weight):
    with pytest.raises(InputError, match=r"weights of the passes .* must be positive"):
        ensemble(passes(2), lambda moments: torch.full_like(moments.expected_entropy, weight)).moments()


def test_samples_are_logits_of_passes():
    logits = passes(3)
    distribution = ensemble(logits)
    draws = list(distribution.sample(600, torch.Generator().manual_seed(0)))
    shares = [sum(torch.equal(draw, one) for draw in draws) / 600 for one in logits]
    assert sum(shares) == 1
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)
    again = list(distribution.sample(600, torch.Generator().manual_seed(0)))
    assert all(torch.equal(a, b) for a, b in zip(draws, again, strict=True))
    assert len(list(distribution.sample(0))) == 0
    assert not distribution.coherent


def test_passes_weighted_voxel_by_voxel_have_no_whole_samples():
    with pytest.raises(InputError, match=r"no whole samples"):
        next(ensemble(passes(2), lambda moments: moments.expected_entropy).sample(1))


def test_no_passes_are_refused():
    with pytest.raises(InputError, match=r"'passes' is 0"):
        ensemble([])


@pytest.mark.parametrize("other", [(1, 2, *SHAPE), (1, 3, 2, 3, 3)])
def test_passes_of_another_shape_are_refused(other):
    with pytest.raises(InputError, match=r"pass 2 gives logits of shape .* same classes and the same grid"):
        ensemble([*passes(1), torch.zeros(other, dtype=torch.float64)]).moments()
