"""DynUNet's taps, and the reference network of SegWithU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertaintyseg.backbones import DynUNetBackbone


@pytest.mark.parametrize("filters", [(4, 6, 8), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("residual", [False, True])
def test_taps_have_the_channels_and_the_resolution_they_say(filters, residual):
    torch.manual_seed(0)
    backbone = DynUNetBackbone(filters=filters, residual=residual).eval()
    side = 2 * backbone.divisor
    image = torch.randn(2, 1, side, side, backbone.divisor)
    features, taps = backbone.tapped(image, list(backbone.taps))
    assert torch.equal(features, backbone(image))
    assert len(backbone.taps) == len(filters) - 1
    for step, (name, channels) in enumerate(backbone.taps.items()):
        shrink = 2 ** (len(filters) - 2 - step)
        assert name == f"up_{step}"
        assert taps[name].shape == (2, channels, side // shrink, side // shrink, backbone.divisor // shrink)


def test_a_tap_holds_the_skip_beside_the_upsampled_features():
    torch.manual_seed(0)
    backbone = DynUNetBackbone(filters=(4, 6, 8)).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    _, taps = backbone.tapped(image, ["up_1"])
    assert torch.equal(taps["up_1"][:, 4:], backbone.network.input_block(image))


def test_gradient_flows_through_taps_where_they_are_asked_for_it():
    backbone = DynUNetBackbone(filters=(4, 6, 8))
    backbone.tapped(torch.randn(1, 1, 8, 8, 8), ["up_0"])[1]["up_0"].sum().backward()
    assert backbone.network.bottleneck.conv1.conv.weight.grad is not None
    assert backbone.network.upsamples[1].conv_block.conv1.conv.weight.grad is None


def test_the_reference_network_has_the_parameters_and_taps_of_the_paper():
    """16.67 million with four classes (METHODS 7.1)."""
    with torch.device("meta"):
        backbone = DynUNetBackbone.reference()
        output = nn.Conv3d(backbone.features, 4, 1)
    count = sum(p.numel() for module in (backbone, output) for p in module.parameters())
    assert count == 16_670_276
    assert [backbone.taps[name] for name in ("up_1", "up_2")] + [backbone.features] == [256, 128, 32]
    assert backbone.divisor == 16
