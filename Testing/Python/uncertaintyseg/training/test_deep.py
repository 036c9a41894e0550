"""Deep supervision against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.backbones import AttentionUNetBackbone, DynUNetBackbone
from uncertaintyseg.errors import BundleError
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.deep import DeepLoss, DeeplySupervised, coarsened
from uncertaintyseg.training.objectives import HeadLoss

CROP = (16, 16, 4)
STRIDES = [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2]]


@pytest.fixture
def network() -> Segmenter:
    torch.manual_seed(0)
    backbone = DynUNetBackbone(filters=(4, 6, 8, 10), strides=STRIDES)
    return Segmenter(backbone, "deterministic", 3)


def test_inner_stages_but_the_coarsest_give_logits_on_their_own_grids(network):
    deep = DeeplySupervised(network, CROP)
    output = deep(torch.rand(2, 1, *CROP))
    assert output.output.distribution.mean.shape == (2, 3, *CROP)
    assert [tuple(each.distribution.mean.shape) for each in output.coarser] == [(2, 3, 8, 8, 4)]
    assert deep.readouts[0].in_channels == 6  # after the convolutions of that stage


def test_what_the_network_says_is_what_it_says_without(network):
    image = torch.rand(1, 1, *CROP)
    deep = DeeplySupervised(network, CROP)
    assert torch.equal(deep(image).output.distribution.mean, network(image).distribution.mean)


def test_gradients_reach_the_inner_stages_through_their_own_readouts(network):
    deep = DeeplySupervised(network, CROP)
    deep(torch.rand(1, 1, *CROP)).coarser[0].distribution.mean.sum().backward()
    assert deep.readouts[0].weight.grad is not None
    assert network.head.mean.weight.grad is None


@pytest.mark.parametrize("shape", [(8, 8, 4), (4, 8, 2), (5, 16, 1)])
def test_targets_are_the_voxels_nearest_to_the_middle_and_unlabelled_ones_stay_so(shape):
    target = np.random.default_rng(0).integers(-1, 3, (2, 1, *CROP))
    found = coarsened(torch.from_numpy(target), shape).numpy()
    at = [
        np.minimum(((np.arange(n) + 0.5) * size / n).astype(int), size - 1) for n, size in zip(shape, CROP, strict=True)
    ]
    np.testing.assert_array_equal(found, target[:, :, at[0]][:, :, :, at[1]][..., at[2]])
    assert (found == -1).any()


def test_the_loss_weighs_each_stage_half_as_much_as_the_finer_one():
    torch.manual_seed(0)
    network = Segmenter(DynUNetBackbone(filters=(4, 6, 8, 10, 12)), "deterministic", 3)
    crop = (32, 32, 32)
    deep, loss = DeeplySupervised(network, crop), HeadLoss("marginal_nll")
    target = torch.randint(0, 3, (2, 1, *crop))
    output = deep(torch.rand(2, 1, *crop))
    stages = [loss(output.output, target)]
    stages += [
        loss(each, target[:, :, f // 2 :: f, f // 2 :: f, f // 2 :: f])
        for each, f in zip(output.coarser, (2, 4), strict=True)
    ]
    assert DeepLoss(loss)(output, target).item() == pytest.approx(
        sum(w * part.item() for w, part in zip((4 / 7, 2 / 7, 1 / 7), stages, strict=True)), rel=1e-6
    )


def test_a_backbone_without_stages_is_refused():
    with pytest.raises(BundleError, match=r"'recipe\.deep_supervision' needs a backbone with inner stages"):
        DeeplySupervised(Segmenter(AttentionUNetBackbone(filters=(4, 6)), "deterministic", 3), CROP)
