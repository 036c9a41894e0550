"""Passes of a noisy image (METHODS 5.3)."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.logits import GaussianLogits


class Echo:
    """Logits that are the image, so that the noise can be seen."""

    divisor = 4

    def __call__(self, image: torch.Tensor) -> HeadOutput:
        return HeadOutput(GaussianLogits(image))


IMAGE = 3 * torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0)) + 5
IMAGE[:, 1] *= 10


def draws(image: torch.Tensor = IMAGE, **options) -> torch.Tensor:
    return torch.stack([distribution.mean for distribution in Noise(Echo(), **options).run(image)])


def test_the_noise_is_measured_in_the_image_s_own_standard_deviations():
    noise = draws(passes=200) - IMAGE
    own = IMAGE.flatten(2).std(2)[0]
    assert torch.allclose(noise.std(dim=(0, 1, 3, 4, 5)), 0.05 * own, rtol=0.01)
    assert (noise.mean(0).abs().amax((0, 2, 3, 4)) < 5 * 0.05 * own / 200**0.5).all()


def test_a_known_standard_deviation_is_not_measured():
    noise = draws(passes=200, sigma=0.1, image_std=2.0) - IMAGE
    assert torch.allclose(noise.std(dim=(0, 1, 3, 4, 5)), torch.tensor(0.2), rtol=0.01)


def test_no_noise_is_the_network_itself():
    assert torch.equal(draws(sigma=0.0, passes=2), torch.stack([IMAGE, IMAGE]))


@pytest.mark.parametrize("image", [torch.full((1, 1, 4, 4, 4), 7.0), torch.ones(1, 1, 1, 1, 1)])
def test_a_constant_image_has_no_scale_and_gets_no_noise(image):
    assert torch.equal(draws(image, passes=2), torch.stack([image, image]))


def test_nothing_is_clamped_unless_the_range_is_given():
    image = torch.rand(1, 1, 8, 8, 8).round()
    assert draws(image, passes=2).min() < 0
    clamped = draws(image, passes=2, value_range=(0.0, 1.0))
    assert clamped.min() == 0
    assert clamped.max() == 1


def test_the_image_stays_as_it_is_and_the_noise_repeats():
    before = IMAGE.clone()
    assert torch.equal(draws(passes=3), draws(passes=3))
    assert not torch.equal(draws(passes=3), draws(passes=3, seed=1))
    assert torch.equal(IMAGE, before)
    assert Noise(Echo()).divisor == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1.0}, "'sigma' is -1"),
        ({"sigma": float("nan")}, "'sigma' is nan"),
        ({"image_std": -1.0}, "'image_std' is -1"),
        ({"value_range": (1.0, 0.0)}, r"'value_range' is \[1.0, 0.0\]"),
        ({"value_range": (1.0,)}, r"'value_range' is \[1.0\]"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Noise(Echo(), **options)
