"""Test-time augmentation: networks that do not care agree with themselves, and others are averaged exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.passes.symmetry import Symmetry, group
from uncertaintyseg.inference.passes.tta import Augmentation, Augmented
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.logits import Diagonal, GaussianLogits
from uncertaintyseg.segmenter import Segmenter


class Pointwise:
    """What it says of a voxel depends on the intensity there, so it commutes with every symmetry."""

    divisor = 1

    def __init__(self, noise=0.5):
        self.noise = noise

    def __call__(self, image):
        logits = torch.cat([torch.zeros_like(image), image, image.square()], 1)
        return HeadOutput(GaussianLogits(logits, Diagonal(self.noise * (1 + logits.abs())) if self.noise else None))


class Sloped:
    """Prefers one end of axis 0, and notes which shapes it saw."""

    def __init__(self, divisor=1):
        self.divisor, self.seen = divisor, []

    def __call__(self, image):
        self.seen.append(tuple(image.shape[2:]))
        slope = torch.linspace(-1, 1, image.shape[2]).reshape(-1, 1, 1).expand_as(image)
        return HeadOutput(GaussianLogits(torch.cat([image, 3 * slope], 1)))


def patch(*shape, seed=0):
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def tiny_network():
    torch.manual_seed(0)
    return Segmenter(DynUNetBackbone(filters=(4, 8, 8)), "low_rank", classes=3).eval()


@pytest.mark.parametrize("symmetries", ["none", "flips", "rotations", "cube", (1,)])
def test_a_network_that_commutes_with_the_symmetries_does_not_disagree_with_itself(symmetries):
    image, sure, unsure = patch(4, 4, 4), Pointwise(noise=0.0), Pointwise()
    for network in (sure, unsure):
        found = Augmented(network, symmetries=symmetries)(image).distribution
        alone = network(image).distribution
        assert torch.allclose(found.moments().stacked(), alone.moments().stacked(), atol=1e-5)
        assert torch.allclose(found.mean, alone.mean, atol=1e-5)
    assert Augmented(sure, symmetries=symmetries)(image).distribution.moments().variance.max() < 1e-6


@given(shape=st.tuples(*[st.integers(2, 5)] * 3), symmetries=st.sampled_from(["flips", "rotations", "cube"]))
def test_it_is_the_plain_average_of_the_inverted_answers(shape, symmetries):
    image, network = patch(*shape), Sloped()
    passes = Augmented(network, symmetries=symmetries)
    moments = passes(image).distribution.moments()
    answers = []
    for symmetry in group(symmetries, (1, 1, 1)):
        p = network(symmetry.apply(image)).distribution.mean.softmax(1)
        answers.append(symmetry.invert(p))
    answers = torch.stack(answers)
    assert torch.allclose(moments.probability, answers.mean(0), atol=1e-6)
    assert torch.allclose(moments.variance, answers.var(0, unbiased=False), atol=1e-6)
    assert torch.allclose(moments.expected_entropy, torch.special.entr(answers).sum(2, keepdim=True).mean(0), atol=1e-6)


def test_the_answer_turns_with_the_image():
    image, network = patch(8, 8, 8), tiny_network()
    passes = Augmented(network, symmetries="rotations")
    turn = group("rotations", (1, 1, 1))[13]
    with torch.inference_mode():
        here = passes(image).distribution.moments().stacked()
        there = passes(turn.apply(image)).distribution.moments().stacked()
    assert torch.allclose(turn.apply(here), there, atol=1e-4)


def test_the_papers_sixteen_passes_say_what_eight_say():
    image, network = patch(4, 4, 3), Sloped()
    sixteen = Augmented(network, faithful=True, spacing=(1, 1, 4))
    eight = [s for s in group("cube", (1, 1, 4)) if 2 not in s.flips]
    assert (sixteen.passes, len(eight)) == (16, 8)
    wanted = torch.stack([s.invert(network(s.apply(image)).distribution.mean.softmax(1)) for s in eight])
    moments = sixteen(image).distribution.moments()
    assert torch.allclose(moments.probability, wanted.mean(0), atol=1e-6)
    assert torch.allclose(moments.variance, wanted.var(0, unbiased=False), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, 8),
        ({"symmetries": "cube"}, 48),
        ({"symmetries": (0,), "intensities": (0.8, 0.9, 1, 1.1, 1.2), "scales": (0.5, 1, 2)}, 30),
        ({"intensities": (1, 1.0, 1.1)}, 16),
        ({"faithful": True}, 16),
    ],
)
def test_every_combination_is_one_pass_and_none_is_done_twice(options, passes):
    augmented = Augmented(Pointwise(), **options)
    assert augmented.passes == Augmented.count(**options) == passes
    assert options.get("faithful") or len(set(augmented.augmentations)) == passes


def test_fewer_passes_are_left_where_voxels_are_longer_along_one_axis():
    assert Augmented(Pointwise(), symmetries="cube", spacing=(1, 1, 3)).passes == 16
    with pytest.raises(InputError, match="no axes can be exchanged"):
        Augmented(Pointwise(), symmetries="cube", spacing=(1, 2, 3))


def test_brighter_images_are_averaged():
    image = patch(3, 3, 3)
    moments = Augmented(Pointwise(), symmetries="none", intensities=(0.8, 1.2))(image).distribution.moments()
    each = [Pointwise()(factor * image).distribution.moments().probability for factor in (0.8, 1.2)]
    assert torch.allclose(moments.probability, (each[0] + each[1]) / 2, atol=1e-6)


def test_rescaled_answers_come_back_to_the_patch():
    network = Sloped(divisor=(4, 2, 2))
    moments = Augmented(network, symmetries="none", scales=(0.5, 1, 2))(patch(12, 8, 6)).distribution.moments()
    assert network.seen == [(8, 4, 4), (12, 8, 6), (24, 16, 12)]
    assert moments.probability.shape == (1, 2, 12, 8, 6)
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, 12, 8, 6), atol=1e-5)
    assert (moments.second_moment >= moments.probability.square() - 1e-6).all()
    assert (moments.probability[:, 1, -1] > moments.probability[:, 1, 0]).all()  # the slope is still the right way


def test_an_image_of_one_value_does_not_care_about_its_scale():
    image = torch.full((1, 1, 4, 4, 4), 0.7)
    moments = Augmented(Pointwise(), scales=(0.5, 1, 2))(image).distribution.moments()
    assert torch.allclose(moments.stacked(), Pointwise()(image).distribution.moments().stacked(), atol=1e-5)


def test_a_patch_is_not_shrunk_to_less_than_the_network_can_take():
    augmentation = Augmentation(Symmetry.identity(3), scale=0.5)
    assert augmentation.apply(patch(8, 8, 8), 8).shape[2:] == (8, 8, 16)
    moments = Augmented(tiny_network(), symmetries="none", scales=(0.5,))(patch(4, 4, 8)).distribution.moments()
    assert torch.isfinite(moments.stacked()).all()


def test_samples_are_those_of_the_network_brought_back():
    image, network = patch(2, 3, 4), Pointwise()
    (only,) = list(Augmented(network, symmetries=(), intensities=(1,)).run(image))
    draws = [
        next(only.sample(1, torch.Generator().manual_seed(3))),
        next(network(image).distribution.sample(1, torch.Generator().manual_seed(3))),
    ]
    assert torch.equal(*draws)
    turned = list(Augmented(network, symmetries="cube").run(image))[-1]
    assert next(turned.sample(1)).shape == (1, 3, 2, 3, 4)


def test_windows_fit_networks_of_any_divisor_after_their_axes_were_exchanged():
    network = Sloped(divisor=(4, 2, 1))
    augmented = Augmented(network, symmetries="cube", spacing=(1, 1, 2))
    MomentsInferer((8, 8, 4), overlap=0.25)(patch(9, 5, 6), augmented)
    assert all(side % d == 0 for seen in network.seen for side, d in zip(seen, network.divisor, strict=True))
    assert {seen[:2] for seen in network.seen} == {(8, 8)}


def test_it_repeats_bit_for_bit():
    image, network = patch(8, 8, 8), tiny_network()
    with torch.inference_mode():
        one, two = (Augmented(network)(image).distribution.moments().stacked() for _ in range(2))
    assert torch.equal(one, two)


def test_an_image_of_other_axes_is_refused():
    with pytest.raises(InputError, match="2 axes, the symmetries 3"):
        Augmented(Pointwise())(patch(4, 4)).distribution.moments()


def test_images_in_the_plane_have_fewer_symmetries():
    flat = Augmented(Pointwise(noise=0.0), spacing=(1, 1), symmetries="cube", scales=(1, 2))
    assert flat.passes == 8 * 2
    assert flat(patch(4, 6)).distribution.moments().probability.shape == (1, 3, 4, 6)


@pytest.mark.parametrize("name", ["intensities", "scales"])
@pytest.mark.parametrize("factors", [(), (0,), (-1.0, 1.0), (float("nan"),), ("bright",)])
def test_factors_without_sense_are_refused(name, factors):
    with pytest.raises(InputError, match=name):
        Augmented(Pointwise(), **{name: factors})
