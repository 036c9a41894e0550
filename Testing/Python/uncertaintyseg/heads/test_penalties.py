"""The regularisers of the basis heads (golden tests 10 to 12)."""

from __future__ import annotations

import math

import pytest
import torch

from uncertaintyseg.heads.penalties import kl_to_unit_variance, negative_entropy, orthogonality


@pytest.mark.parametrize("direction", ["reverse", "paper"])
def test_the_divergence_and_its_gradient_vanish_at_unit_variance(direction):
    variance = torch.ones(2, 3, 4, dtype=torch.float64, requires_grad=True)
    divergence = kl_to_unit_variance(variance, direction)
    divergence.backward()
    assert divergence.item() == 0
    assert variance.grad.abs().max() == 0


@pytest.mark.parametrize(("direction", "at_5", "at_tenth"), [("reverse", 1.20, 0.70), ("paper", 0.40, 3.35)])
def test_the_divergence_has_the_values_of_the_method_notes(direction, at_5, at_tenth):
    assert kl_to_unit_variance(torch.tensor([5.0]), direction).item() == pytest.approx(at_5, abs=0.006)
    assert kl_to_unit_variance(torch.tensor([0.1]), direction).item() == pytest.approx(at_tenth, abs=0.006)


@pytest.mark.parametrize("direction", ["reverse", "paper"])
def test_the_divergence_is_that_of_torch(direction):
    variance = torch.rand(100, dtype=torch.float64) * 4 + 0.05
    learned, unit = (torch.distributions.Normal(0, v.sqrt()) for v in (variance, torch.ones_like(variance)))
    pair = (learned, unit) if direction == "reverse" else (unit, learned)
    assert torch.allclose(kl_to_unit_variance(variance, direction), torch.distributions.kl_divergence(*pair).mean())


def test_orthogonal_bases_cost_nothing_and_equal_ones_cost_one():
    unit = torch.linalg.qr(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))[0].T.reshape(3, 2, 4)
    assert orthogonality(unit).item() == pytest.approx(0, abs=1e-6)
    assert orthogonality(7 * unit[:1].expand(3, 2, 4)).item() == pytest.approx(1, abs=1e-6)
    assert orthogonality(unit[:1]).item() == 0


def test_uniform_weights_have_the_least_negative_entropy():
    shape = (2, 3, 4, 4, 4)
    assert negative_entropy(torch.full(shape, 1 / 3)).item() == pytest.approx(-math.log(3), abs=1e-6)
    assert negative_entropy(torch.randn(shape).softmax(1)).item() > -math.log(3)
    assert negative_entropy(torch.eye(3)[None, :, 0, None, None, None].expand(shape)).item() == 0
