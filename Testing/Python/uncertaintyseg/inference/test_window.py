"""Sliding windows average moments, so that disagreement between windows is kept (METHODS 1.7)."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.logits import Diagonal, GaussianLogits
from uncertaintyseg.segmenter import Segmenter


class MeanNetwork:
    """Says the same everywhere in a window: the mean of what it sees, with unit variance."""

    def __init__(self, divisor: int | tuple[int, ...] = 1) -> None:
        self.divisor = divisor
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image):
        self.seen.append(tuple(image.shape[2:]))
        mean = image.mean(dim=(2, 3, 4), keepdim=True).expand_as(image).clone()
        logits = torch.cat([torch.zeros_like(mean), mean], 1)
        return HeadOutput(GaussianLogits(logits, Diagonal(torch.ones_like(logits))), maps={"own": mean})


def tiny_network(head: str = "low_rank") -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(DynUNetBackbone(filters=(4, 8, 8)), head, classes=3).eval()


def test_the_law_of_total_variance_holds_between_windows():
    image = torch.zeros(1, 1, 4, 4, 6)
    image[..., 3:] = 4.0
    output = MomentsInferer((4, 4, 4), overlap=0.5)(image, MeanNetwork())
    alone = [MomentsInferer((4, 4, 4))(image[..., s : s + 4], MeanNetwork()).moments for s in (0, 2)]
    (first, second), moments = alone, output.moments
    between = (first.probability - second.probability)[0, 1, 0, 0, 0]
    for k in (2, 3):  # the voxels that both windows saw
        share = (moments.probability - second.probability[..., :1])[0, 1, 0, 0, k] / between
        assert 0 < share < 1
        within = share * first.variance[0, 1, 0, 0, 0] + (1 - share) * second.variance[0, 1, 0, 0, 0]
        assert moments.variance[0, 1, 0, 0, k] == pytest.approx(
            (within + share * (1 - share) * between**2).item(), abs=1e-6
        )
        entropies = [m.expected_entropy[0, 0, 0, 0, 0] for m in alone]
        wanted = share * entropies[0] + (1 - share) * entropies[1]
        assert moments.expected_entropy[0, 0, 0, 0, k] == pytest.approx(wanted.item(), abs=1e-6)
    assert torch.allclose(moments.probability[..., 0], first.probability[..., 0])
    assert torch.allclose(moments.probability[..., 5], second.probability[..., 0])


def test_maps_of_the_heads_own_are_averaged_alike():
    image = torch.arange(6.0).reshape(1, 1, 1, 1, 6).expand(1, 1, 4, 4, 6)
    output = MomentsInferer((4, 4, 4), overlap=0.5)(image, MeanNetwork())
    assert output.maps["own"][0, 0, 0, 0, 0] == pytest.approx(1.5)
    assert 1.5 < output.maps["own"][0, 0, 0, 0, 2] < 3.5
    assert output.features is None


@pytest.mark.parametrize("head", ["deterministic", "low_rank", "mixture_of_bases"])
@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 12, 16)])
def test_one_window_is_the_network_itself(head, shape):
    network, image = tiny_network(head), torch.randn(1, 1, *shape)
    output = MomentsInferer((16, 16, 16))(image, network)
    with torch.inference_mode():
        assert torch.allclose(output.moments.stacked(), network(image).distribution.moments().stacked(), atol=2e-6)


def test_a_small_volume_is_padded_only_to_what_the_backbone_needs():
    network = MeanNetwork(divisor=4)
    output = MomentsInferer((16, 16, 16))(torch.randn(1, 1, 5, 16, 3), network)
    assert network.seen == [(8, 16, 4)]
    assert output.moments.probability.shape == (1, 2, 5, 16, 3)


def test_a_network_of_slices_says_which_axes_it_halves():
    network = MeanNetwork(divisor=(4, 4, 1))
    MomentsInferer((16, 16, 1))(torch.randn(1, 1, 5, 8, 3), network)
    assert network.seen == [(8, 8, 1)] * 3


@pytest.mark.parametrize("shape", [(1, 2, 3), (4, 4, 4), (2, 16, 1)])
def test_a_few_voxels_are_enough_for_the_lowest_level(shape):
    output = MomentsInferer((16, 16, 16))(torch.randn(1, 1, *shape), tiny_network())
    assert output.moments.probability.shape == (1, 3, *shape)
    assert torch.isfinite(output.moments.stacked()).all()


@pytest.mark.parametrize(
    ("shape", "overlap"),
    [((8, 8, 8), 0.5), ((9, 8, 17), 0.5), ((20, 13, 8), 0.25), ((16, 24, 9), 0.0), ((11, 8, 8), 0.9), ((3, 4, 5), 0.5)],
)
def test_progress_counts_the_windows_and_ends_at_one(shape, overlap):
    network, said = MeanNetwork(), []
    MomentsInferer((8, 8, 8), overlap, progress=said.append)(torch.randn(1, 1, *shape), network)
    assert len(said) == len(network.seen)
    assert said == pytest.approx([(i + 1) / len(said) for i in range(len(said))])


def test_moments_of_overlapping_windows_are_still_those_of_probabilities():
    network = tiny_network()
    output = MomentsInferer((8, 8, 8), 0.5, keep_features=True)(torch.randn(1, 1, 18, 11, 9), network)
    moments = output.moments
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, 18, 11, 9), atol=1e-5)
    assert (moments.second_moment >= moments.probability.square() - 1e-6).all()
    assert output.features.shape == (1, 4, 18, 11, 9)
    assert not moments.probability.requires_grad


def test_windows_repeat_bit_for_bit():
    network, image = tiny_network("mixture_of_bases"), torch.randn(1, 1, 18, 11, 9)
    one, two = (MomentsInferer((8, 8, 8), 0.5)(image, network).moments.stacked() for _ in range(2))
    assert torch.equal(one, two)
