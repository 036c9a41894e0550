"""DynUNet's taps, and the reference network of SegWithU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import BundleError


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


FLAT = {"kernels": [(3, 3, 1), (3, 3, 3), 3, 3], "strides": [1, (2, 2, 1), (2, 2, 1), (2, 2, 2)]}
"""For slices more than twice as thick as their pixels are wide."""


def test_the_defaults_are_kernels_of_three_that_halve_every_axis():
    torch.manual_seed(0)
    plain = DynUNetBackbone(filters=(4, 6, 8, 10))
    spelled = DynUNetBackbone(filters=(4, 6, 8, 10), kernels=[(3, 3, 3)] * 4, strides=[(1, 1, 1)] + [(2, 2, 2)] * 3)
    assert plain.divisor == spelled.divisor == 8
    spelled.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(plain(image), spelled(image))


def test_each_axis_is_halved_as_often_as_its_strides_say():
    torch.manual_seed(0)
    backbone = DynUNetBackbone(in_channels=2, filters=(4, 6, 8, 10), **FLAT).eval()
    assert tuple(backbone.divisor) == (8, 8, 2)
    features, taps = backbone.tapped(torch.randn(2, 2, 16, 24, 10), list(backbone.taps))
    assert features.shape == (2, 4, 16, 24, 10)
    assert {name: tap.shape[1:] for name, tap in taps.items()} == {
        "up_0": (16, 4, 6, 10),
        "up_1": (12, 8, 12, 10),
        "up_2": (8, 16, 24, 10),
    }


def test_kernels_of_one_leave_the_slices_beside_alone():
    """With a flat kernel on every level a slice's features come from that slice: they only share the normalisation."""
    torch.manual_seed(0)
    flat = [(3, 3, 1)] * 3
    backbone = DynUNetBackbone(filters=(4, 6, 8), kernels=flat, strides=[1, (2, 2, 1), (2, 2, 1)]).eval()
    for module in backbone.modules():
        if isinstance(module, nn.InstanceNorm3d):
            module.forward = lambda x: x
    image = torch.randn(1, 1, 8, 8, 5)
    changed = image.clone()
    changed[..., 2] += 1
    moved = (backbone(image) - backbone(changed)).abs().amax((0, 1, 2, 3))
    assert moved[2] > 0
    assert torch.equal(moved[[0, 1, 3, 4]], torch.zeros(4))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"filters": (4, 8)}, "at least 3 levels"),
        ({"filters": (4, 8, 8), "kernels": [3, 3]}, "'kernels' has 2 entries"),
        ({"filters": (4, 8, 8), "strides": [1, (2, 2), 2]}, "'strides' needs one positive number"),
        ({"filters": (4, 8, 8), "kernels": [3, (3, 3, 2), 3]}, "must be odd"),
        ({"filters": (4, 8, 8), "strides": [2, 2, 2]}, "first of 'strides'"),
        ({"filters": (4, 8, 8), "kernels": [3, (3, 3, 1), 3]}, "pass over voxels"),
    ],
)
def test_what_makes_no_network_is_refused(settings, what):
    with pytest.raises(BundleError, match=what):
        DynUNetBackbone(**settings)
