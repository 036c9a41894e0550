"""The Single-Basis head, and what it is with two classes (golden test 5; METHODS 3.7)."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.heads.diagonal import DiagonalHead
from uncertaintyseg.heads.mixture_of_bases import MixtureOfBases
from uncertaintyseg.heads.single_basis import SingleBasis
from uncertaintyseg.logits import Diagonal, GaussianLogits


def build(classes: int, **options: object) -> SingleBasis:
    torch.manual_seed(0)
    return SingleBasis(features=4, classes=classes, rank=6, **options).eval()


def test_with_two_classes_a_diagonal_head_says_the_same():
    head, features = build(2), torch.randn(1, 4, 5, 5, 5)
    output = head(features).distribution
    half = output.covariance.difference_variance().reshape(1, 1, 5, 5, 5) / 2
    diagonal = GaussianLogits(output.mean, Diagonal(half.expand(-1, 2, -1, -1, -1)))
    assert torch.allclose(output.moments().stacked(), diagonal.moments().stacked(), atol=1e-6)


def test_it_is_a_mixture_of_one_basis():
    head, features = build(3), torch.randn(1, 4, 5, 5, 5)
    mixture = MixtureOfBases(features=4, classes=3, rank=6, bases=1).eval()
    for name in ("mean", "log_variance", "amplitude"):
        getattr(mixture, name).load_state_dict(getattr(head, name).state_dict())
    mixture.bases.data[0] = head.basis.data
    one, other = (h(features).distribution.moments().stacked() for h in (head, mixture))
    assert torch.allclose(one, other, atol=1e-6)


def test_shared_noise_makes_whole_shapes():
    apart, shared = build(2), build(2, noise="volume")
    assert (apart.coherent, shared.coherent) == (False, True)
    shared.log_variance.bias.data.fill_(-5.0)
    shared.amplitude.bias.data.fill_(1.0)
    output = shared(torch.zeros(1, 4, 6, 6, 6)).distribution
    noise = next(output.sample(1, torch.Generator().manual_seed(0))) - output.mean
    assert noise.std((2, 3, 4)).max() < 0.2 * noise.abs().mean()


@pytest.mark.parametrize("classes", [2, 4])
def test_every_parameter_learns_in_closed_form(classes):
    head = build(classes).train()
    output = head(torch.randn(1, 4, 4, 4, 4))
    target = torch.randint(classes, (1, 4, 4, 4))
    (output.distribution.negative_log_likelihood(target).mean() + output.penalties["kl"]).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())


def test_the_control_heads_have_no_basis():
    assert {name.split(".")[0] for name in DiagonalHead(4, 2).state_dict()} == {"mean", "log_variance"}
