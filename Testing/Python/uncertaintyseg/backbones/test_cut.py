"""Any network cut before its last layer: what enters that layer, and no other layer taken for it."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNETR, AttentionUnet, BasicUNet, DynUNet, SegResNet, SegResNetDS, UNet, VNet
from torch import nn

from uncertaintyseg.backbones.cut import CutBackbone, output_layer
from uncertaintyseg.errors import BundleError

IMAGE = torch.randn(1, 1, 32, 16, 16, generator=torch.Generator().manual_seed(3))


def dynunet(**options) -> DynUNet:
    return DynUNet(3, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=(4, 8, 8), **options)


ENDS = {
    "SegResNet": (lambda: SegResNet(3, 8, in_channels=1, out_channels=2), "conv_final.2.conv"),
    "DynUNet": (dynunet, "output_block.conv.conv"),
    "DynUNet with deep supervision": (
        lambda: dynunet(deep_supervision=True, deep_supr_num=1),
        "output_block.conv.conv",
    ),
    "SegResNetDS": (lambda: SegResNetDS(3, 8, out_channels=2), "up_layers.2.head"),
    "BasicUNet": (lambda: BasicUNet(3, 1, 2, (4, 4, 8, 8, 8, 4)), "final_conv"),
    "AttentionUnet": (lambda: AttentionUnet(3, 1, 2, (4, 8, 8), (2, 2)), "model.2.conv"),
    "VNet": (lambda: VNet(in_channels=1, out_channels=2), "out_tr.conv2"),
    "UNETR": (lambda: UNETR(1, 2, (32, 16, 16), 4, 24, 32, 2), "out.conv.conv"),
}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_the_last_layer_is_found_and_a_head_in_its_place_gives_the_same(name):
    torch.manual_seed(0)
    make, layer = ENDS[name]
    network = make()
    assert output_layer(network, IMAGE) == layer
    wanted, removed = network(IMAGE), network.get_submodule(layer)
    wanted = wanted[0] if isinstance(wanted, list | tuple) else wanted
    backbone = CutBackbone(network, layer, divisor=4).eval()
    image = IMAGE.clone()
    features = backbone(image)
    assert features.shape[1] == backbone.features == removed.in_channels
    assert torch.equal(removed(features), wanted)
    assert torch.equal(image, IMAGE)


class Ending(nn.Module):
    """A 1x1x1 convolution, and something after it."""

    def __init__(self, after, *, twice: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.last = nn.Conv3d(4, 4, 1)
        self.after, self.twice = after, twice

    def forward(self, image):
        features = self.first(image)
        return self.after(self.last(self.last(features) if self.twice else features))


@pytest.mark.parametrize(
    "network",
    [
        Ending(lambda logits: logits.softmax(1)),
        Ending(torch.sigmoid_),
        Ending(lambda logits: logits[:, :2]),
        Ending(lambda logits: logits, twice=True),
        UNet(3, 1, 2, (4, 8), (2,), num_res_units=1),
        nn.Conv3d(1, 2, 3, padding=1),
    ],
    ids=["softmax", "sigmoid in place", "a part of it", "the same layer twice", "a 3x3x3 layer", "one layer"],
)
def test_a_network_that_ends_otherwise_has_no_such_layer(network):
    assert output_layer(network, IMAGE) is None


def test_what_returns_the_logits_as_they_are_changes_nothing():
    assert output_layer(Ending(lambda logits: logits.contiguous()), IMAGE) == "last"


def test_taps_are_what_enters_the_modules_named():
    torch.manual_seed(0)
    network = SegResNet(3, 8, in_channels=1, out_channels=2)
    backbone = CutBackbone(network, "conv_final.2.conv", divisor=8, taps={"up_layers.1": 16, "up_layers.2": 8}).eval()
    features, taps = backbone.tapped(IMAGE, ["up_layers.1", "up_layers.2"])
    assert {name: tap.shape for name, tap in taps.items()} == {
        "up_layers.1": (1, 16, 16, 8, 8),
        "up_layers.2": (1, 8, 32, 16, 16),
    }
    assert torch.equal(features, backbone(IMAGE))


@pytest.mark.parametrize(
    ("layer", "taps", "message"),
    [
        ("nonsense", {}, "no module 'nonsense'"),
        ("", {}, "no module ''"),
        ("first", {}, "'first', a Conv3d; heads replace a 1x1x1"),
        ("last", {"up": 4}, "no module 'up'"),
    ],
)
def test_a_layer_that_cannot_be_replaced_is_named(layer, taps, message):
    with pytest.raises(BundleError, match=message):
        CutBackbone(Ending(nn.Identity()), layer, taps=taps)
