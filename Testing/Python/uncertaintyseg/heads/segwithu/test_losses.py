"""Each term of SegWithU's loss against numpy, scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.metrics import log_loss

from uncertaintyseg.heads.segwithu.losses import (
    PAIRS,
    WEIGHTS,
    Probed,
    confident_errors,
    pair_ranking,
    standardised,
    tempered_nll,
    terms,
    trust,
)

SHAPE = (2, 1, 4, 5, 6)
CLASSES = 3


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def wrong() -> torch.Tensor:
    return (draw(*SHAPE, seed=9) > 0.8).double()


@pytest.fixture
def probed() -> Probed:
    per_class = (2, CLASSES, *SHAPE[2:])
    maps = [draw(*SHAPE, seed=seed).abs() for seed in (3, 4, 5, 6)]
    return Probed(2 * draw(*per_class), draw(*per_class, seed=1), draw(*per_class, seed=2), *maps)


@pytest.fixture
def target() -> torch.Tensor:
    return torch.randint(CLASSES, SHAPE, generator=torch.Generator().manual_seed(7))


def flat(tensor: torch.Tensor) -> np.ndarray:
    """`[voxels, K]`."""
    return tensor.detach().movedim(1, -1).reshape(-1, tensor.shape[1]).numpy()


def test_the_published_weights():
    assert WEIGHTS == {
        "nll": 0.5, "error": 0.25, "pairs": 0.25, "tail": 0.25, "trust": 0.05, "anchor": 0.05, "residual": 0.05,
    }  # fmt: skip


def test_standardised_is_over_the_whole_batch():
    values = draw(*SHAPE) * 3 + 7
    expected = (values.numpy() - values.numpy().mean()) / (values.numpy().std() + 1e-6)
    np.testing.assert_allclose(standardised(values), expected)


def test_standardising_a_constant_gives_zeros_and_a_finite_gradient():
    values = torch.full(SHAPE, 3.0, requires_grad=True)
    standardised(values).square().sum().backward()
    assert torch.equal(standardised(values), torch.zeros(SHAPE))
    assert torch.isfinite(values.grad).all()


def test_nll_is_the_log_loss_of_the_tempered_probabilities(probed, target):
    expected = log_loss(target.flatten().numpy(), softmax(flat(probed.tempered), 1), labels=range(CLASSES))
    assert tempered_nll(probed.tempered, target).item() == pytest.approx(expected)


def test_nll_stops_at_a_probability_of_1e_12():
    logits = torch.tensor([[100.0, 0.0]]).reshape(1, 2, 1, 1, 1)
    assert tempered_nll(logits, torch.ones(1, 1, 1, 1, 1, dtype=torch.long)).item() == pytest.approx(12 * math.log(10))


def test_pairs_cost_the_softplus_of_the_wrong_order(wrong):
    risk = draw(*SHAPE)
    values, is_wrong = risk.numpy(), wrong.numpy() > 0
    differences = values[~is_wrong][None] - values[is_wrong][:, None]
    costs = -log_expit(-differences)
    found = [pair_ranking(risk, wrong, torch.Generator().manual_seed(seed)).item() for seed in range(50)]
    error = costs.std() / np.sqrt(costs.size * len(found))
    assert np.mean(found) == pytest.approx(costs.mean(), abs=4 * error)


def test_pairs_are_drawn_from_the_generator_and_not_more_than_65536(wrong):
    risk = draw(*SHAPE)
    one, two, three = (pair_ranking(risk, wrong, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    many = torch.zeros(1, 1, 20, 20, 20)
    many[..., 10:] = 1
    generator, reference = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    pair_ranking(draw(1, 1, 20, 20, 20), many, generator)
    for _ in range(2):
        torch.randint(4000, (PAIRS,), generator=reference)
    assert torch.equal(generator.get_state(), reference.get_state())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_there_are_no_pairs_where_all_voxels_are_right_or_all_wrong(value):
    assert pair_ranking(draw(*SHAPE), torch.full(SHAPE, value)).item() == 0


def test_confident_errors_weigh_errors_by_how_certain_their_voxels_are(wrong):
    ranking = draw(*SHAPE)
    expected = (softmax(-ranking.numpy().ravel() / 0.25) * wrong.numpy().ravel()).sum()
    assert confident_errors(ranking, wrong).item() == pytest.approx(expected)
    assert confident_errors(ranking, torch.ones(SHAPE, dtype=torch.float64)).item() == pytest.approx(1)
    assert confident_errors(10 * wrong, wrong) < 1e-6 < confident_errors(-10 * wrong, wrong)


def test_trust_is_the_size_of_the_nudge_in_logits_and_in_probabilities(probed):
    logits, nudge = flat(probed.logits), flat(probed.nudge)
    moved = softmax(logits + nudge, 1) - softmax(logits, 1)
    expected = (nudge**2).mean() + 0.25 * (moved**2).mean()
    assert trust(probed.logits, probed.nudge).item() == pytest.approx(expected)
    assert trust(probed.logits, torch.zeros_like(probed.nudge)).item() == 0


def test_errors_are_those_of_the_raw_logits(probed, target):
    found = terms(probed, target, torch.Generator().manual_seed(0))
    assert list(found) == list(WEIGHTS)
    wrong = flat(probed.logits).argmax(1) != target.flatten().numpy()
    risk = standardised(probed.ranking).flatten().numpy()
    assert found["error"].item() == pytest.approx(log_loss(wrong, expit(risk)), rel=1e-6)
    expected = (softmax(-probed.ranking.flatten().numpy() / 0.25) * wrong).sum()
    assert found["tail"].item() == pytest.approx(expected, rel=1e-6)


def test_the_nll_is_that_of_the_tempered_logits(probed, target):
    chosen = np.take_along_axis(log_softmax(flat(probed.tempered), 1), target.flatten().numpy()[:, None], 1)
    assert terms(probed, target)["nll"].item() == pytest.approx(-chosen.mean())


def test_the_ranking_is_held_near_its_anchor_which_stays_put(probed, target):
    probed = probed._replace(anchor=probed.anchor.requires_grad_(), ranking=probed.ranking.requires_grad_())
    term = terms(probed, target)["anchor"]
    gap = (standardised(probed.ranking) - standardised(probed.anchor)).detach().abs().numpy()
    assert term.item() == pytest.approx(np.where(gap < 1, gap**2 / 2, gap - 0.5).mean())
    term.backward()
    assert probed.anchor.grad is None
    assert probed.ranking.grad.abs().max() > 0


def test_energy_costs_where_the_network_is_sure(probed, target):
    closeness = (-4 * torch.rand(SHAPE, dtype=torch.float64)).exp().requires_grad_()
    probed = probed._replace(closeness=closeness, energy=probed.energy.requires_grad_())
    term = terms(probed, target)["residual"]
    expected = ((1 - closeness.detach().numpy()) * probed.energy.detach().numpy()).mean()
    assert term.item() == pytest.approx(expected)
    term.backward()
    assert closeness.grad is None
