"""Dropout before the output layer: in closed form, or as passes through blocks of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.logits import Basis, GaussianLogits, LogitEnsemble, Moments

Granularity = Literal["channel", "voxel"]


def keep_mask(values: Tensor, rate: float, generator: torch.Generator | None, channel: int | None = 1) -> Tensor:
    """What dropout keeps of `values`: False with probability `rate`, shaped to be multiplied with them.

    Args:
        values: `[B, C, *spatial]`, or whatever `channel` says.
        rate: probability of dropping.
        generator: None uses torch's global one.
        channel: axis of the channels that are kept or dropped as a whole; None draws for every element.
    """
    shape = list(values.shape)
    if channel is not None:
        whole = {0, channel % values.ndim}
        shape = [size if axis in whole else 1 for axis, size in enumerate(shape)]
    return torch.rand(shape, generator=generator, device=values.device) >= rate


class DropoutBlock(nn.Module):
    """Convolution, instance normalisation, leaky ReLU; the dropout that follows is the head's."""

    def __init__(self, features: int, kernel: Sequence[int]) -> None:
        super().__init__()
        padding = [size // 2 for size in kernel]
        self.conv = nn.Conv3d(features, features, tuple(kernel), padding=padding, bias=False)
        self.norm = nn.InstanceNorm3d(features, affine=True)

    def forward(self, features: Tensor) -> Tensor:
        """Features `[B, F, *spatial]` to as many."""
        return nn.functional.leaky_relu(self.norm(self.conv(features)), 0.01)


class DropoutHead(Head):
    """Monte Carlo dropout where it costs least: on what enters the output layer (Gal and Ghahramani 2016).

    Without blocks the logits are W (m o phi) / (1 - q) + b with independent m_f = 1 with probability 1 - q. Their first
    two moments are exact, Sigma_n = q / (1 - q) sum_f w_f w_f^T phi_nf^2 (METHODS 12), and nothing is sampled. The
    Gaussian with these moments is the approximation: against all masks of 10 features, two classes and logit
    differences of sd 2, E[p] is off by less than 0.009 on average and 0.09 at worst with q = 0.2, by 0.012 and 0.13
    with q = 0.5, Var[p] by less than 0.007 on average (the tests say so).

    With blocks it is L-FUSION's Dropout head (paper 000; METHODS 4.5): convolutional blocks, each with dropout.
    Training is then one random pass, evaluation a stream of `passes`; what comes before the first dropout runs once.
    The most likely class is that of the passes' average.

    Args:
        features: channels F entering the head.
        classes: C, background included.
        rate: q, probability of dropping. High rates make few features too unsure where nothing was trained with them.
        blocks: convolutional blocks before the output layer.
        granularity: "channel" drops a feature map as a whole, so that voxels share the noise and samples are whole
            shapes; "voxel" draws anew at every voxel.
        passes, seed: of the evaluation, with blocks.
        kernel: of the blocks' convolutions, odd; 1 along an axis leaves its neighbours alone.

    Raises:
        BundleError: for a rate that is not between 0 and 1, another granularity, an even kernel, or numbers below their
            least.
    """

    name = "dropout"
    paper = "Gal and Ghahramani 2016; Müller et al., L-FUSION"
    summary = "dropout before the output layer in closed form, or passes through blocks with dropout"
    source = "epistemic"
    objective = "expected_ce"
    of_images = MappingProxyType({"kernel": [3, 3, 1]})

    def __init__(
        self,
        features: int,
        classes: int,
        rate: float = 0.2,
        blocks: int = 0,
        granularity: Granularity = "channel",
        passes: int = 20,
        seed: int = 0,
        kernel: Sequence[int] = (3, 3, 3),
    ) -> None:
        super().__init__(features, classes)
        if not 0 < rate < 1:
            raise BundleError(f"'rate' is {rate}: the dropout head needs a number between 0 and 1, both excluded.")
        if granularity not in {"channel", "voxel"}:
            raise BundleError(f"'granularity' is '{granularity}': the dropout head takes 'channel' or 'voxel'.")
        if blocks < 0 or passes < 1:
            raise BundleError(f"'blocks' is {blocks} and 'passes' {passes}: they start from 0 and from 1.")
        if len(kernel) != 3 or any(size < 1 or size % 2 == 0 for size in kernel):
            raise BundleError(f"'kernel' is {list(kernel)}: it needs three odd numbers, such as 3, 3, 1.")
        self.rate, self.granularity, self.seed, self._passes = rate, granularity, seed, passes
        self.blocks = nn.ModuleList(DropoutBlock(features, kernel) for _ in range(blocks))

    @property
    def coherent(self) -> bool:
        return self.granularity == "channel" and not self.blocks

    @property
    def voxelwise(self) -> bool:
        return not self.blocks

    @property
    def direct(self) -> bool:
        return not self.blocks

    @property
    def passes(self) -> int:
        return self._passes if self.blocks else 1

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        if not self.blocks:
            return HeadOutput(self._closed(features))
        if self.training:
            return HeadOutput(self._pass(self.blocks[0](features), None))
        return HeadOutput(self.stream(features))

    def stream(self, features: Tensor, also: Callable[[Moments], Tensor] | None = None) -> LogitEnsemble:
        """The passes through the blocks of a head in evaluation; nothing runs before they are read.

        Args:
            features: `[B, F, *spatial]`.
            also: as of `LogitEnsemble`.
        """
        return _Passes(self, features, also)

    def _closed(self, features: Tensor) -> GaussianLogits:
        amplitude = math.sqrt(self.rate / (1 - self.rate)) * features
        basis = self.mean.weight[None].expand(len(features), -1, -1, -1, -1, -1)
        noise = "volume" if self.granularity == "channel" else "voxel"
        return GaussianLogits(self.mean(features), Basis(amplitude, basis, noise))

    def drawn(self, features: Tensor, count: int, generator: torch.Generator | None) -> Iterator[GaussianLogits]:
        """So many random passes; what comes before the first dropout runs once."""
        first = self.blocks[0](features)
        for _ in range(count):
            yield self._pass(first, generator)

    def _pass(self, first: Tensor, generator: torch.Generator | None) -> GaussianLogits:
        """One random pass from the output of the first block on."""
        hidden = self._dropped(first, generator)
        for block in self.blocks[1:]:
            hidden = self._dropped(block(hidden), generator)
        return GaussianLogits(self.mean(hidden))

    def _dropped(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        channel = 1 if self.granularity == "channel" else None
        return features * keep_mask(features, self.rate, generator, channel) / (1 - self.rate)


class _Passes(LogitEnsemble):
    """The passes of a head in evaluation; samples of it are passes of their own, so that no two are alike."""

    def __init__(self, head: DropoutHead, features: Tensor, also: Callable[[Moments], Tensor] | None) -> None:
        super().__init__(self._stream, head.passes, also=also)
        self._head, self._features = head, features

    def _stream(self) -> Iterator[GaussianLogits]:
        generator = torch.Generator(self._features.device).manual_seed(self._head.seed)
        return self._head.drawn(self._features, self.count, generator)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """Draw `count` logits `[B, C, *spatial]`, of one pass each."""
        return (drawn.mean for drawn in self._head.drawn(self._features, count, generator))
