"""Passes of a network that is shown examples: parts of them, and examples that turn with the image."""

from __future__ import annotations

import pytest
import torch

from Testing.Python.uncertaintyseg.inference.passes.test_base import segmenter, shown
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.examples import ExampleSubsets
from uncertaintyseg.inference.passes.tta import Augmented

SLICE = torch.rand(1, 1, 8, 8, 1, generator=torch.Generator().manual_seed(3))


def parts_of(network, **options):
    """Which examples each pass was shown."""
    backbone, found = network.backbone, []
    images = backbone.images.flatten(1)

    def note(*_):
        found.append([int((images == one).all(1).nonzero()) for one in backbone.images.flatten(1)])

    with backbone.register_forward_pre_hook(note):
        list(ExampleSubsets(network, **options).run(SLICE))
    return found


def test_each_pass_is_shown_another_part_without_repeats():
    parts = parts_of(shown("deterministic"), passes=8, share=0.5)
    assert all(len(set(part)) == len(part) == 3 for part in parts)
    assert len({tuple(sorted(part)) for part in parts}) > 3
    assert {len(part) for part in parts_of(shown("deterministic"), passes=2, share=0.51)} == {4}  # rounded up
    assert parts_of(shown("deterministic"), passes=8, share=0.5) == parts
    assert parts_of(shown("deterministic"), passes=8, share=0.5, seed=1) != parts


def test_a_part_that_shows_nothing_of_a_structure_gets_a_slice_that_does():
    network = shown("deterministic")
    network.backbone.labels.zero_()
    network.backbone.labels[0, 2] = 1
    network.backbone.labels[1, 5] = 1
    assert all({2, 5} <= set(part) for part in parts_of(network, passes=6, share=0.2))


def test_all_examples_at_once_leave_nothing_to_disagree_on():
    network = shown("deterministic")
    found = ExampleSubsets(network, passes=3, share=1.0)(SLICE).distribution.moments()
    alone = network(SLICE).distribution.moments()
    torch.testing.assert_close(found.probability, alone.probability, atol=1e-5, rtol=0)
    assert float(found.variance.max()) < 1e-6


def test_examples_turn_with_the_image_and_are_as_they_were_afterwards():
    network = shown("deterministic")
    images, labels = network.backbone.images, network.backbone.labels
    augmented = Augmented(network, symmetries=(0, 1), intensities=(1.0, 0.5))
    for one, distribution in zip(augmented.augmentations, augmented.run(SLICE), strict=True):
        axes = [axis + 2 for axis in one.symmetry.flips]
        with network.backbone.shown(images.flip(axes) * one.intensity, labels.flip([axis + 1 for axis in axes])):
            expected = network(SLICE.flip(axes) * one.intensity).distribution.mean.flip(axes)
        torch.testing.assert_close(distribution.mean, expected)
    assert network.backbone.images is images
    assert network.backbone.labels is labels


def test_networks_that_have_learnt_and_single_examples_are_refused():
    with pytest.raises(InputError, match="is for models that are shown examples, such as UniverSeg"):
        ExampleSubsets(segmenter())
    network = shown("deterministic")
    with (
        network.backbone.shown(network.backbone.images[:1], network.backbone.labels[:, :1]),
        pytest.raises(InputError, match="a single example, of which there is no part"),
    ):
        ExampleSubsets(network)
