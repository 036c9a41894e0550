"""2D networks on slices: each is seen alone, whatever lies beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertaintyseg.backbones import AttentionUNetBackbone, CutBackbone, DynUNetBackbone, SliceWise
from uncertaintyseg.segmenter import Segmenter

FLAT = {"kernels": [[3, 3, 1]] * 3, "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1]]}


class Flat(nn.Module):
    """A network of Conv2d whose last layer is a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, image):
        return self.last(torch.relu(self.first(image)))


def backbones():
    torch.manual_seed(0)
    yield DynUNetBackbone(filters=(4, 6, 8), **FLAT)
    yield AttentionUNetBackbone(filters=(4, 6, 8), spatial_dims=2)


def test_every_slice_is_seen_alone_and_by_the_network_itself():
    torch.manual_seed(0)
    network, image = Flat(), torch.randn(2, 2, 8, 10, 5)
    found = SliceWise(network)(image)
    assert found.shape == (2, 3, 8, 10, 5)
    for depth in range(5):
        torch.testing.assert_close(found[..., depth], network(image[..., depth]))


def test_a_network_of_several_outputs_keeps_them():
    class Two(Flat):
        def forward(self, image):
            return [super().forward(image), super().forward(image)[:, :1]]

    first, second = SliceWise(Two())(torch.randn(1, 2, 8, 10, 5))
    assert (first.shape, second.shape) == ((1, 3, 8, 10, 5), (1, 1, 8, 10, 5))


@pytest.mark.parametrize("head", ["deterministic", "low_rank", "diagonal"])
def test_heads_are_free_of_the_dimension(head):
    for backbone in backbones():
        network = Segmenter(backbone, head, 3).eval()
        assert network(torch.randn(1, 1, 16, 16, 1)).distribution.mean.shape == (1, 3, 16, 16, 1)


def test_our_networks_of_flat_kernels_take_windows_of_one_slice():
    for backbone in backbones():
        features = backbone.eval()(torch.randn(3, 1, 16, 20, 1))
        assert features.shape == (3, backbone.features, 16, 20, 1)
        assert tuple(backbone.divisor) == (4, 4, 1)


def test_a_network_of_conv2d_is_cut_before_its_last_layer_and_gets_a_head():
    torch.manual_seed(0)
    network, image = Flat(), torch.randn(1, 2, 8, 8, 3)
    wanted = torch.stack([torch.relu(network.first(image[..., depth])) for depth in range(3)], dim=-1)
    cut = CutBackbone(SliceWise(network), "network.last", 2)
    torch.testing.assert_close(cut(image), wanted)
    assert Segmenter(cut, "low_rank", 3)(image).distribution.mean.shape == (1, 3, 8, 8, 3)
