"""The same network on noisy copies of the image (METHODS 5.1, 5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from torch import Tensor

from uncertaintyseg.backbones.prompted import picture_channels
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.base import Passes, seeded
from uncertaintyseg.inference.passes.ranges import PASSES, SEED, Range, check_ranges
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.segmenter import Network


class Noise(Passes):
    """Passes of x + N(0, sigma^2), sigma a share of the standard deviation of the image (paper 001).

    Nothing is clamped unless the range of values that the network knows is given: a clamp shifts the mean of images
    that were normalised to zero mean and unit variance, which have no range.

    Args:
        network: any network.
        passes: how many.
        sigma: of the noise, in units of the standard deviation of each channel.
        image_std: that standard deviation; None measures it on what the network is given, which is a window.
        value_range: smallest and largest value to clamp to, as (0, 1) in the authors' code; None or empty: no clamp.
        seed: of the noise.

    Raises:
        InputError: for a sigma or standard deviation that is negative, or an empty range.
    """

    name = "noise"
    paper = "González Salas, Foundation models adapted without retraining"
    summary = "the image with Gaussian noise added"
    source = "aleatoric"

    def __init__(
        self,
        network: Network,
        *,
        passes: Annotated[int, Range(1, PASSES)] = 30,
        sigma: Annotated[float, Range(0, 100)] = 0.05,
        image_std: Annotated[float | None, Range(0, 1e6)] = None,
        value_range: Annotated[Sequence[float] | None, Range(-1e6, 1e6)] = None,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(Noise, locals())
        super().__init__(network, passes=passes)
        if value_range and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise InputError(f"'value_range' is {list(value_range)}: give the smallest and the largest value.")
        self.sigma, self.image_std, self.value_range, self.seed = sigma, image_std, value_range, seed

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        generator = seeded(self.seed, image)
        scale = self.sigma * (self._std(image) if self.image_std is None else self.image_std)
        seen = picture_channels(self.network, image)
        for _ in range(self.passes):
            noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
            noisy = image + scale * noise
            noisy = noisy if not self.value_range else noisy.clamp(*self.value_range)
            noisy[:, seen:] = image[:, seen:]
            with torch.no_grad():
                output = self.network(noisy)
            yield output.distribution

    @property
    def looks(self) -> int:
        return self.passes

    def _std(self, image: Tensor) -> Tensor:
        """Of each channel, `[B, channels, 1...]`; 0 for a single voxel."""
        return image.std(dim=tuple(range(2, image.ndim)), keepdim=True, correction=0)
