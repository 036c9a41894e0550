"""A backbone that is shown examples: each slice and each structure alone, and what a head makes of them."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.backbones import InContextBackbone
from uncertaintyseg.backbones.in_context import read_out_structures
from uncertaintyseg.errors import InputError
from uncertaintyseg.segmenter import Segmenter

SIZE = 16


def backbone(structures=2, examples=3):
    torch.manual_seed(0)
    found = InContextBackbone((4, 5), SIZE, examples, structures)
    found.images.uniform_()
    found.labels.random_(0, 2)
    return found.eval()


def test_every_slice_and_every_structure_has_a_run_of_its_own():
    shown = backbone()
    volume = torch.rand(1, 1, SIZE, SIZE, 3)
    found = shown(volume)
    assert found.shape == (1, 2 * 4, SIZE, SIZE, 3)
    assert shown.features == 2 * 4
    for depth in range(3):
        for number in range(2):
            alone = shown.network.read(volume[..., depth], shown.images[None], shown.labels[number].float()[None])
            torch.testing.assert_close(found[:, 4 * number : 4 * number + 4, ..., depth], alone)


def test_runs_are_put_together_as_chances_of_which_one_at_most_can_hold():
    shown = backbone()
    segmenter = Segmenter(shown, "deterministic", 3).eval()
    read_out_structures(segmenter.head.mean, shown.network)
    slices = torch.rand(1, 1, SIZE, SIZE, 1)
    with torch.no_grad():
        found = segmenter(slices).distribution.moments().probability[0, ..., 0]
        chances = [
            shown.network(slices[..., 0], shown.images[None], labels.float()[None])[0, 0].sigmoid().double()
            for labels in shown.labels
        ]
    a, b = chances
    joint = torch.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b])
    torch.testing.assert_close(found.double(), joint / joint.sum(0), atol=1e-6, rtol=1e-4)


def test_other_examples_count_for_a_while_and_then_no_more():
    shown, slices = backbone(), torch.rand(1, 1, SIZE, SIZE, 1)
    before = shown(slices)
    with shown.shown(shown.images[:1], shown.labels[:, :1]):
        assert not torch.allclose(shown(slices), before)
    assert torch.equal(shown(slices), before)


def test_examples_come_with_the_weights():
    one, two = backbone(), InContextBackbone((4, 5), SIZE, 3, 2)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)


def test_slices_of_another_size_than_the_examples_are_refused():
    with pytest.raises(InputError, match=r"slices of 8 x 16 pixels, and the examples have 16 x 16"):
        backbone()(torch.rand(1, 1, 8, SIZE, 1))
