"""The diagonal recursion against autograd: exact where it says so, a heuristic below (METHODS 4.4)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.layers import SkipConnection
from torch import nn

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.laplace.recursion import _through, diagonal_ggn


def exact(network: nn.Sequential, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Diagonal of the Gauss-Newton matrix, one logit after another."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def logits(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(network, p, inputs).movedim(1, -1).flatten(0, -2)

    jacobians = torch.func.jacrev(logits)(parameters)
    p = logits(parameters).softmax(1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    return {name: torch.einsum("nc...,ncd,nd...->...", j, curvature, j) for name, j in jacobians.items()}


def layer(kind: str) -> nn.Module:
    return {
        "conv": lambda: nn.Conv3d(3, 4, 3, padding=1),
        "strided conv": lambda: nn.Conv3d(3, 4, 3, stride=2, padding=1, bias=False),
        "transposed conv": lambda: nn.ConvTranspose3d(3, 2, 2, stride=2),
        "leaky": lambda: nn.LeakyReLU(0.1),
        "tanh": nn.Tanh,
        "batch norm": lambda: nn.BatchNorm3d(3),
        "nearest": lambda: nn.Upsample(scale_factor=2, mode="nearest"),
        "trilinear": lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
        "aligned trilinear": lambda: nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True),
        "max pool": lambda: nn.MaxPool3d(2),
        "cat": lambda: SkipConnection(nn.Conv3d(3, 2, 1), mode="cat"),
        "add": lambda: SkipConnection(nn.Sequential(nn.Identity(), nn.Dropout(0.5)), mode="add"),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    ["conv", "strided conv", "transposed conv", "leaky", "tanh", "batch norm", "nearest", "trilinear",
     "aligned trilinear", "max pool", "cat"],
)  # fmt: skip
def test_a_diagonal_goes_back_through_the_squared_jacobian(kind):
    torch.manual_seed(0)
    module = layer(kind).double().eval()
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.add_(torch.rand_like(buffer))
    x = torch.randn(1, 3, 4, 2, 2, dtype=torch.float64)
    h = torch.rand_like(module(x))
    jacobian = torch.autograd.functional.jacobian(module, x).reshape(h.numel(), x.numel())
    wanted = (jacobian.square().T @ h.flatten()).reshape(x.shape)
    with torch.no_grad():
        assert torch.allclose(_through(module, "", x, h, {}), wanted)


def test_a_sum_sends_the_whole_diagonal_both_ways():
    """Both ways hold the same values here; that they move together is what a diagonal cannot know."""
    h = torch.rand(1, 3, 2, 2, 2)
    assert torch.allclose(_through(layer("add").eval(), "", torch.randn(1, 3, 2, 2, 2), h, {}), 2 * h)


def test_instance_norm_counts_its_statistics_as_constants():
    module, x = nn.InstanceNorm3d(3, affine=True).double(), torch.randn(2, 3, 4, 3, 2, dtype=torch.float64)
    nn.init.normal_(module.weight)
    h = torch.rand_like(x)
    scale = module.weight[None, :, None, None, None] / (x.var((2, 3, 4), correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(_through(module, "", x, h, {}), scale.square() * h)


def network(classes: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.Tanh(), nn.MaxPool3d(2),
        SkipConnection(nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.Tanh()), mode="cat"),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv3d(8, 4, 3, padding=1), nn.LeakyReLU(0.01),
        nn.Conv3d(4, classes, 1),
    ).double()  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_exact_for_the_last_two_convolutions_and_off_by_factors_below(classes):
    """Measured below: factors of 0.57 to 4.5 (2 classes) and 0.32 to 2.4 (3), log-correlation 0.93 and 0.83."""
    net, x = network(classes), torch.randn(2, 1, 6, 4, 4, dtype=torch.float64)
    found, wanted = diagonal_ggn(net, x), exact(net, x)
    assert found.keys() == wanted.keys()
    for name in ("7.weight", "7.bias", "5.weight", "5.bias"):
        assert torch.allclose(found[name], wanted[name], rtol=1e-8), name
    deeper = ["3.submodule.0.weight", "3.submodule.0.bias", "0.weight", "0.bias"]
    one, other = (torch.cat([part[name].flatten() for name in deeper]).log().numpy() for part in (found, wanted))
    ratio = np.exp(one - other)
    assert ratio.min() > 0.25
    assert ratio.max() < 5
    assert np.corrcoef(one, other)[0, 1] > 0.8


def test_what_it_cannot_go_through_is_named():
    x = torch.randn(1, 1, 4, 4, 4)
    with pytest.raises(InputError, match=r"no way through '0' \(AvgPool3d\)"):
        diagonal_ggn(nn.Sequential(nn.AvgPool3d(2), nn.Conv3d(1, 2, 1)), x)
    with pytest.raises(InputError, match="ends in Tanh"):
        diagonal_ggn(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Tanh()), x)
    with pytest.raises(InputError, match="joins by 'mul'"):
        diagonal_ggn(nn.Sequential(SkipConnection(nn.Identity(), mode="mul"), nn.Conv3d(1, 2, 1)), x)
