"""Backbone and head as one network."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.segmenter import Segmenter

FILTERS = (4, 8, 8)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_an_image_becomes_a_distribution_on_its_own_grid(head):
    network = Segmenter(DynUNetBackbone(filters=FILTERS), head, classes=3).eval()
    output = network(torch.randn(2, 1, 8, 12, 8))
    assert output.distribution.mean.shape == (2, 3, 8, 12, 8)


def test_the_wrong_number_of_channels_is_refused_with_the_right_one():
    network = Segmenter(DynUNetBackbone(in_channels=1, filters=FILTERS), "deterministic", classes=2)
    with pytest.raises(InputError, match=r"2 channels; this model takes 1"):
        network(torch.randn(1, 2, 8, 8, 8))


@pytest.mark.parametrize("filters", [(4, 8, 8), (4, 4, 4, 4)])
def test_the_divisor_is_the_smallest_size_a_backbone_can_halve_to_its_lowest_level(filters):
    backbone = DynUNetBackbone(filters=filters)
    assert backbone.divisor == 2 ** (len(filters) - 1)
    assert backbone.features == filters[0]
    size = 2 * backbone.divisor
    assert backbone(torch.randn(1, 1, size, size, size)).shape == (1, filters[0], size, size, size)


def test_options_reach_the_head():
    network = Segmenter(DynUNetBackbone(filters=FILTERS), "low_rank", classes=3, rank=7)
    assert network.head.rank == 7


@pytest.mark.parametrize("head", sorted(HEADS))
def test_under_mixed_precision_the_head_still_computes_in_float32(head):
    torch.manual_seed(0)
    network = Segmenter(DynUNetBackbone(filters=FILTERS), head, classes=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distribution = network(torch.randn(1, 1, 8, 8, 8)).distribution
    assert distribution.mean.dtype == torch.float32
    assert distribution.moments().probability.dtype == torch.float32
