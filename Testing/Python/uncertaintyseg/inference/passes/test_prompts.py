"""Prompts as another person might have drawn them, and what other passes leave of prompts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import PromptedBackbone
from uncertaintyseg.backbones.prompted import marks_of, prompt_of
from uncertaintyseg.backbones.sam import Prompt
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.inference.passes.prompts import PromptJitter
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.logits import GaussianLogits

SHAPE = (30, 20)


class Noting(nn.Module):
    """A network that is prompted and writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = PromptedBackbone.__new__(PromptedBackbone)
        nn.Module.__init__(self.backbone)
        self.divisor, self.seen = 1, []

    def forward(self, image: Tensor) -> HeadOutput:
        self.seen.append(image)
        return HeadOutput(GaussianLogits(image[:, :2].float()))


def image() -> Tensor:
    found = torch.rand(1, 2, *SHAPE, 1, generator=torch.Generator().manual_seed(0))
    found[0, 1, :, :, 0] = marks_of(Prompt((5, 4, 24, 13), [(7, 7)], [(0, 0)]), SHAPE)
    return found


def given(passes) -> list[Tensor]:
    network = passes.network
    passes(image()).distribution.moments()
    return network.seen


def test_boxes_and_points_move_by_no_more_than_was_said_and_repeat():
    seen = given(PromptJitter(Noting(), passes=40, jitter=0.2, pixels=3))
    found = [prompt_of(one[0, 1, :, :, 0]) for one in seen]
    assert all(torch.equal(one[:, :1], image()[:, :1]) for one in seen)
    ends = torch.tensor([prompt.box for prompt in found]) - torch.tensor([5, 4, 24, 13])
    assert ends.abs().amax(0).tolist() == [4, 2, 4, 2]  # a fifth of 20 and of 10 pixels, and within 40 passes all of it
    points = torch.tensor([prompt.inside[0] for prompt in found]) - 7
    assert points.abs().max() == 3
    assert all(min(prompt.outside[0]) >= 0 for prompt in found)
    again = given(PromptJitter(Noting(), passes=40, jitter=0.2, pixels=3))
    assert all(torch.equal(one, two) for one, two in zip(seen, again, strict=True))
    assert all(torch.equal(one, image()) for one in given(PromptJitter(Noting(), passes=2, jitter=0, pixels=0)))


def test_noise_and_brightness_leave_prompts_as_they_are():
    for passes in (
        Noise(Noting(), passes=2, sigma=0.5, value_range=(0, 1)),
        Augmented(Noting(), symmetries="none", intensities=(0.5, 2.0), spacing=(1, 1, 1)),
    ):
        for one in given(passes):
            assert torch.equal(one[:, 1:], image()[:, 1:])
            assert not torch.equal(one[:, :1], image()[:, :1])


def test_a_flip_turns_the_prompt_with_the_image():
    flipped = given(Augmented(Noting(), symmetries=(0,), spacing=(1, 1, 1)))[1]
    assert prompt_of(flipped[0, 1, :, :, 0]) == Prompt((5, 4, 24, 13), [[22, 7]], [[29, 0]])


def test_slices_are_not_exchanged_with_anything():
    with pytest.raises(InputError, match="looks at single slices"):
        Augmented(Noting(), symmetries="cube", spacing=(1, 1, 1))
    assert Augmented(Noting(), symmetries="cube", spacing=(1, 1, 1000)).passes == 16


def test_a_network_without_prompts_is_refused():
    with pytest.raises(InputError, match="is for models that are prompted"):
        PromptJitter(nn.Identity())
