"""What every backbone does with taps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.errors import BundleError


class Ladder(Backbone):
    """Doubles, then adds one: what a tap holds is plain."""

    in_channels, features, divisor = 1, 1, 1

    def __init__(self, taps: dict[str, int]) -> None:
        super().__init__()
        self.taps = taps
        self.steps = nn.ModuleList([nn.Identity(), nn.Identity()])

    def forward(self, image):
        doubled = self.steps[0](2 * image)
        return self.steps[1](doubled + 1)

    def tap_module(self, name):
        return self.steps[int(name)]


class Plain(Backbone):
    in_channels, features, divisor = 1, 1, 1

    def forward(self, image):
        return image


def test_taps_are_what_enters_the_named_modules():
    image = torch.randn(1, 1, 2, 3, 4)
    features, taps = Ladder({"0": 1, "1": 1}).tapped(image, ["1", "0"])
    assert torch.equal(features, 2 * image + 1)
    assert taps.keys() == {"0", "1"}
    assert torch.equal(taps["0"], 2 * image)
    assert torch.equal(taps["1"], 2 * image + 1)


def test_taps_follow_the_image_from_call_to_call_and_leave_nothing_behind():
    ladder = Ladder({"0": 1})
    for _ in range(2):
        image = torch.randn(1, 1, 2, 2, 2)
        assert torch.equal(ladder.tapped(image, ["0"])[1]["0"], 2 * image)
    assert not any(module._forward_pre_hooks for module in ladder.modules())


def test_a_pass_that_fails_leaves_no_hook_behind():
    ladder = Ladder({"0": 1})
    with pytest.raises(TypeError):
        ladder.tapped(None, ["0"])
    assert not any(module._forward_pre_hooks for module in ladder.modules())


def test_an_unknown_tap_is_answered_with_the_known_ones():
    with pytest.raises(BundleError, match=r"no tap 'up_9'.*it has 0, 1"):
        Ladder({"0": 1, "1": 1}).tapped(torch.zeros(1, 1, 2, 2, 2), ["0", "up_9"])
    with pytest.raises(BundleError, match=r"no tap 'up_0'.*it has none"):
        Plain().tapped(torch.zeros(1, 1, 2, 2, 2), ["up_0"])


def test_without_names_there_are_the_last_features_alone():
    image = torch.randn(1, 1, 2, 2, 2)
    features, taps = Plain().tapped(image, [])
    assert torch.equal(features, image)
    assert taps == {}


def test_a_backbone_that_lists_a_tap_must_say_where_it_is():
    backbone = Plain()
    backbone.taps = {"up_0": 1}
    with pytest.raises(NotImplementedError, match=r"Plain.*'up_0'"):
        backbone.tapped(torch.zeros(1, 1, 2, 2, 2), ["up_0"])
