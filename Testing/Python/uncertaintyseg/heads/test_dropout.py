"""Dropout on the last features: exact moments, and how good the Gaussian that has them is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.dropout import DropoutHead, keep_mask
from uncertaintyseg.logits import GaussianLogits, LogitEnsemble, Moments

SHAPE = (4, 3, 2)


def features(count: int = 6, batch: int = 1, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(batch, count, *shape, generator=torch.Generator().manual_seed(1))


def build(count: int = 6, classes: int = 3, **options) -> DropoutHead:
    torch.manual_seed(0)
    return DropoutHead(count, classes, **options).eval()


def every_mask(count: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """All masks of so many features, `[2^F, F]`, already rescaled, and their probabilities."""
    masks = np.array(list(itertools.product([0.0, 1.0], repeat=count)))
    return masks / (1 - rate), np.where(masks > 0, 1 - rate, rate).prod(1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_mean_and_covariance_are_exactly_those_of_all_masks(classes, rate):
    head, phi = build(6, classes, rate=rate).double(), features().double()
    masks, weights = every_mask(6, rate)
    w, b = head.mean.weight.detach().numpy().reshape(classes, 6), head.mean.bias.detach().numpy()
    flat = phi.numpy().reshape(6, -1)
    logits = np.einsum("cf,kf,fn->knc", w, masks, flat) + b
    mean = np.einsum("k,knc->nc", weights, logits)
    sigma = np.einsum("k,knc,knd->ncd", weights, logits - mean, logits - mean)
    with torch.no_grad():
        found = head(phi).distribution
        np.testing.assert_allclose(found.mean.flatten(2)[0].T, mean, atol=1e-12)
        np.testing.assert_allclose(found.marginals().dense()[0], sigma, atol=1e-12)


ERRORS = [(0.5, 10, 0.012, 0.007, 0.13), (0.2, 10, 0.009, 0.007, 0.09), (0.5, 6, 0.017, 0.009, 0.14)]


@pytest.mark.parametrize(("rate", "count", "probability", "variance", "worst"), ERRORS)
def test_the_gaussian_is_as_close_to_all_masks_as_the_head_says(rate, count, probability, variance, worst):
    """Two classes, a logit difference of sd 2 between voxels; mean errors of E[p] and Var[p], largest of E[p]."""
    found = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        head = build(count, 2, rate=rate).double()
        phi = torch.randn(1, count, 400, 1, 1, generator=generator, dtype=torch.float64).abs()
        with torch.no_grad():
            head.mean.weight.copy_(torch.randn(head.mean.weight.shape, generator=generator, dtype=torch.float64))
            head.mean.bias.zero_()
            plain = head.mean(phi)
            head.mean.weight.mul_(2 / (plain[:, 1] - plain[:, 0]).std())
            masks, weights = map(torch.from_numpy, every_mask(count, rate))
            each = [Moments.of_point(head.mean(phi * mask[None, :, None, None, None])).stacked() for mask in masks]
            exact = Moments.unstacked(torch.einsum("k,kbcxyz->bcxyz", weights, torch.stack(each)))
            ours = head(phi).distribution.moments()
        found.append([(ours.probability - exact.probability).abs(), (ours.variance - exact.variance).abs()])
    assert np.mean([p.mean() for p, _ in found]) < probability
    assert np.mean([v.mean() for _, v in found]) < variance
    assert max(p.max() for p, _ in found) < worst


def test_a_mask_of_channels_is_shared_by_all_voxels_and_one_of_voxels_is_not():
    for granularity, coherent in (("channel", True), ("voxel", False)):
        head = build(granularity=granularity)
        distribution = head(torch.ones(1, 6, *SHAPE)).distribution
        draw = next(distribution.sample(1, torch.Generator().manual_seed(0))) - distribution.mean
        assert head.coherent == distribution.coherent == coherent
        assert (draw.flatten(2).std(2).max() < 1e-5) == coherent


def test_both_granularities_have_the_same_maps():
    one, two = (build(granularity=granularity)(features()).distribution for granularity in ("channel", "voxel"))
    assert torch.equal(one.moments().stacked(), two.moments().stacked())


def test_little_dropout_is_nearly_the_plain_network():
    head = build(rate=1e-6)
    found = head(features()).distribution.moments()
    assert torch.allclose(found.probability, head.mean(features()).softmax(1), atol=1e-4)
    assert found.variance.max() < 1e-4


def test_masks_keep_what_they_should():
    values = torch.ones(50, 40, 3, 3, 3)
    kept = keep_mask(values, 0.3, torch.Generator().manual_seed(0))
    assert kept.shape == (50, 40, 1, 1, 1)
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.04)
    assert keep_mask(values, 0.3, None, channel=None).shape == values.shape
    assert keep_mask(values[:, 0, 0], 0.3, None, channel=-1).shape == (50, 1, 3)


def test_blocks_answer_with_a_stream_of_passes_in_evaluation_and_one_pass_in_training():
    head = build(blocks=2, passes=5)
    distribution = head(features()).distribution
    assert isinstance(distribution, LogitEnsemble)
    assert (head.passes, build(passes=5).passes) == (5, 1)
    assert not head.coherent
    draws = list(distribution.passes())
    assert len(draws) == 5
    p = torch.stack([draw.mean.softmax(1) for draw in draws])
    assert torch.allclose(distribution.moments().variance, p.var(0, correction=0), atol=1e-6)
    head.train()
    one, two = (head(features()).distribution for _ in range(2))
    assert isinstance(one, GaussianLogits)
    assert not torch.equal(one.mean, two.mean)


@pytest.mark.parametrize("granularity", ["channel", "voxel"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_passes_through_blocks_are_those_of_torch_s_dropout(granularity, blocks):
    """Against a plain chain of torch layers: the mean and spread of many passes."""
    head = build(blocks=blocks, granularity=granularity, rate=0.3, passes=600)
    kind = torch.nn.Dropout3d if granularity == "channel" else torch.nn.Dropout
    layers = [layer for block in head.blocks for layer in (block, kind(0.3))]
    chain = torch.nn.Sequential(*layers, head.mean).eval()
    for layer in layers[1::2]:
        layer.train()
    torch.manual_seed(1)
    with torch.no_grad():
        theirs = torch.stack([chain(features()) for _ in range(600)])
        ours = torch.stack([draw.mean for draw in head(features()).distribution.passes()])
    error = ((ours.var(0) + theirs.var(0)) / 600).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()
    assert torch.allclose(ours.std(0).mean(), theirs.std(0).mean(), rtol=0.1)


def test_gradient_reaches_the_blocks():
    head = build(blocks=2).train()
    head(features(batch=2)).distribution.mean.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_stream_repeats_bit_for_bit_and_leaves_the_global_generator_alone():
    head = build(blocks=1, passes=3)
    before = torch.get_rng_state()
    with torch.inference_mode():
        one, two = (head(features()).distribution.moments().stacked() for _ in range(2))
        other = build(blocks=1, passes=3, seed=1)(features()).distribution.moments().stacked()
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, r"'rate' is 0\.0"),
        ({"rate": 1.0}, r"'rate' is 1\.0"),
        ({"rate": float("nan")}, r"'rate' is nan"),
        ({"granularity": "cube"}, r"'granularity' is 'cube'"),
        ({"blocks": -1}, r"'blocks' is -1"),
        ({"passes": 0}, r"'passes' 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(BundleError, match=message):
        build(**options)
