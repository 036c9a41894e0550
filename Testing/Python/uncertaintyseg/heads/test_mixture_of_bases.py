"""MoB: its selector, the choice of a cube's basis and its options."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.mixture_of_bases import BasisSelector, MixtureOfBases


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 6, 5), (4, 4, 4)])
def test_the_selector_weighs_bases_in_every_cube(shape):
    weights = BasisSelector(features=5, bases=3, parts=4)(torch.randn(2, 5, *shape))
    assert weights.shape == (2, 3, 4, 4, 4)
    assert torch.allclose(weights.sum(1), torch.ones(2, 4, 4, 4), atol=1e-6)


def test_a_sharp_selector_uses_one_of_the_bases_as_it_is():
    head = MixtureOfBases(features=5, classes=3, rank=4).eval()
    with torch.no_grad():
        head.selector.mix.weight.zero_()
        head.selector.mix.bias.zero_()
        head.selector.mix.bias[64:128] = 100.0  # the weights lie basis by basis, 64 cubes each
    basis = head(torch.randn(1, 5, 8, 8, 8)).distribution.covariance.parts[0].basis
    assert torch.allclose(basis, head.bases[1][None, ..., None, None, None].expand_as(basis))


def test_the_log_variance_is_clamped_to_what_the_authors_allow():
    head = MixtureOfBases(features=5, classes=2).eval()
    for bias, wanted in ((40.0, 5.0), (-40.0, -5.0)):
        with torch.no_grad():
            head.log_variance.bias.fill_(bias)
        diagonal = head(torch.randn(1, 5, 4, 4, 4)).distribution.covariance.parts[1].variance
        assert torch.allclose(diagonal.log(), torch.tensor(wanted))


def test_the_penalties_are_weighted_as_asked():
    features = torch.randn(1, 5, 8, 8, 8)
    torch.manual_seed(0)
    plain = MixtureOfBases(features=5, classes=2).train()
    heavy = MixtureOfBases(
        features=5, classes=2, kl_weight=5e-3, orthogonality_weight=2.0, selection_weight=0.0
    ).train()
    heavy.load_state_dict(plain.state_dict())
    one, other = plain(features).penalties, heavy(features).penalties
    assert one.keys() == {"kl", "orthogonality", "selection"}
    assert torch.allclose(other["kl"], 10 * one["kl"])
    assert torch.allclose(other["orthogonality"], 2 * one["orthogonality"])
    assert other["selection"] == 0


def used_weights(head: MixtureOfBases, features: torch.Tensor) -> torch.Tensor:
    """Weights of the bases in each cube, solved for from the basis the head used."""
    basis = head(features).distribution.covariance.parts[0].basis
    columns = head.bases.flatten(1).T
    return torch.linalg.lstsq(columns, basis[0].flatten(0, 1).flatten(1)).solution


@pytest.mark.parametrize(
    ("choice", "training", "evaluation"),
    [("soft", False, False), ("hard", False, True), ("straight_through", True, True)],
)
def test_a_cube_takes_one_basis_when_the_choice_is_hard(choice, training, evaluation):
    torch.manual_seed(0)
    head, features = MixtureOfBases(features=5, classes=3, rank=4, choice=choice), torch.randn(1, 5, 8, 8, 8)
    with torch.no_grad():
        for mode, one_hot in ((True, training), (False, evaluation)):
            largest = used_weights(head.train(mode), features).amax(0)
            assert torch.allclose(largest, torch.ones_like(largest), atol=1e-4) == one_hot


def test_straight_through_chooses_hard_and_learns_like_the_mix():
    torch.manual_seed(0)
    soft, hard = (MixtureOfBases(features=5, classes=2, choice=choice) for choice in ("soft", "straight_through"))
    hard.load_state_dict(soft.state_dict())
    for head in (soft, hard):
        head.train()(torch.ones(1, 5, 8, 8, 8)).distribution.covariance.parts[0].basis.sum().backward()
    assert torch.allclose(hard.selector.mix.weight.grad, soft.selector.mix.weight.grad)
    assert soft.selector.mix.weight.grad.abs().max() > 0


@pytest.mark.parametrize("bases", [1, 2, 5])
@pytest.mark.parametrize("choice", ["soft", "straight_through", "hard"])
def test_one_to_five_bases_work_with_every_choice(bases, choice):
    head = MixtureOfBases(features=5, classes=3, bases=bases, choice=choice).eval()
    moments = head(torch.randn(1, 5, 6, 5, 4)).distribution.moments()
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, 6, 5, 4), atol=1e-5)


def test_the_marginals_do_not_depend_on_who_shares_the_noise():
    torch.manual_seed(0)
    heads = [MixtureOfBases(features=5, classes=3, noise=noise).eval() for noise in ("voxel", "cube", "volume")]
    features = torch.randn(1, 5, 8, 8, 8)
    maps = []
    for head in heads:
        head.load_state_dict(heads[0].state_dict())
        maps.append(head(features).distribution.moments().stacked())
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("wrong", [{"bases": 0}, {"parts": 0}, {"choice": "best"}])
def test_options_without_a_meaning_are_refused(wrong):
    with pytest.raises(BundleError, match="mixture_of_bases"):
        MixtureOfBases(features=5, classes=2, **wrong)
