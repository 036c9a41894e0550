"""The diagonal recursion against autograd: exact where it says so, a heuristic below (METHODS 4.4)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.laplace.recursion import _through, diagonal_ggn


def exact(tail: nn.Sequential, output: nn.Conv3d, x: torch.Tensor, counted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Diagonal of the Gauss-Newton matrix, one logit after another."""
    parameters = {name: value.detach() for name, value in tail.named_parameters()}

    def logits(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return output(torch.func.functional_call(tail, p, x)).movedim(1, -1)[counted]

    jacobians = torch.func.jacrev(logits)(parameters)
    p = logits(parameters).softmax(1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    return {name: torch.einsum("nc...,ncd,nd...->...", j, curvature, j) for name, j in jacobians.items()}


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv3d(3, 4, 3, padding=1),
        lambda: nn.Conv3d(3, 4, (3, 3, 1), padding=(1, 1, 0), bias=False),
        lambda: nn.LeakyReLU(0.1),
        nn.Tanh,
        lambda: nn.Dropout3d(0.5),
    ],
)
def test_a_diagonal_goes_back_through_the_squared_jacobian(layer):
    torch.manual_seed(0)
    module = layer().double().eval()
    x = torch.randn(1, 3, 4, 2, 2, dtype=torch.float64)
    h = torch.rand_like(module(x))
    jacobian = torch.autograd.functional.jacobian(module, x).reshape(h.numel(), x.numel())
    wanted = (jacobian.square().T @ h.flatten()).reshape(x.shape)
    with torch.no_grad():
        assert torch.allclose(_through(module, "", x, h, {}), wanted)


def test_instance_norm_counts_its_statistics_as_constants():
    module, x = nn.InstanceNorm3d(3, affine=True).double(), torch.randn(2, 3, 4, 3, 2, dtype=torch.float64)
    nn.init.normal_(module.weight)
    h = torch.rand_like(x)
    scale = module.weight[None, :, None, None, None] / (x.var((2, 3, 4), correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(_through(module, "", x, h, {}), scale.square() * h)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_exact_for_the_convolution_before_the_output_layer_and_off_by_factors_below(classes):
    """Measured below: factors of 0.61 to 1.8 (2 classes) and 0.58 to 2.2 (3), log-correlation 0.81 and 0.89."""
    torch.manual_seed(0)
    tail = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.LeakyReLU(0.01), nn.Conv3d(4, 4, 3, padding=1), nn.LeakyReLU(0.01)
    ).double()  # fmt: skip
    output, x = nn.Conv3d(4, classes, 1).double().requires_grad_(False), torch.randn(2, 2, 6, 4, 4, dtype=torch.float64)
    counted = torch.rand(2, 6, 4, 4) < 0.7
    found, wanted = diagonal_ggn(tail, output, x, counted), exact(tail, output, x, counted)
    assert found.keys() == wanted.keys()
    for name in ("2.weight", "2.bias"):
        assert torch.allclose(found[name], wanted[name], rtol=1e-8), name
    one, other = (torch.cat([part[f"0.{name}"].flatten() for name in ("weight", "bias")]).log().numpy() for part in
                  (found, wanted))  # fmt: skip
    ratio = np.exp(one - other)
    assert ratio.min() > 0.4
    assert ratio.max() < 3
    assert np.corrcoef(one, other)[0, 1] > 0.7


def test_what_it_cannot_go_through_is_named():
    tail = nn.Sequential(nn.Conv3d(1, 2, 1), nn.AvgPool3d(2))
    with pytest.raises(InputError, match=r"no way through '1' \(AvgPool3d\)"):
        diagonal_ggn(tail, nn.Conv3d(2, 2, 1), torch.randn(1, 1, 4, 4, 4))
