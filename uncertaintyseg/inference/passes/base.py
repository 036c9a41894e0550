"""The contract of passes: a network made of another one by running it several times, without any training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.passes.ranges import PASSES, Range, check_ranges
from uncertaintyseg.logits import LogitDistribution, LogitEnsemble
from uncertaintyseg.segmenter import Network
from uncertaintyseg.wire import MapInfo, Source


class Passes(ABC):
    """Base of all training-free methods (METHODS 5); itself a `Network`.

    Nothing runs before the moments or the mean of the answer are asked for; then the passes run one after another,
    and only their running averages are kept. The wrapped network is left as it was found.

    Args:
        network: to be run several times; it may be of passes itself.
        passes: how many.

    Raises:
        InputError: for fewer than one pass, or more than 4096.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where the method comes from."""
    summary: ClassVar[str]
    """What it does, in one line."""
    source: ClassVar[Source] = "epistemic"
    """Kind of uncertainty that the passes add to the network's own."""

    def __init__(self, network: Network, *, passes: Annotated[int, Range(1, PASSES)]) -> None:
        check_ranges(Passes, {"passes": passes})
        self.network, self.passes = network, passes

    @classmethod
    def count(cls, **options: Any) -> int:
        """How many passes the method takes with these options."""
        return int(options["passes"])

    @classmethod
    def extra_maps(cls, classes: int) -> dict[str, MapInfo]:  # noqa: ARG003 - for those that have some
        """Maps of the method's own, beside those of every distribution; of C classes, background included."""
        return {}

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this."""
        return self.network.divisor

    @property
    def looks(self) -> int:
        """How many of its passes see another image than the first, or look at it otherwise."""
        return 0

    @abstractmethod
    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        """One distribution over logits `[B, C, *spatial]` a pass, for an image `[B, channels, *spatial]`.

        Random passes start from their seed each time, so that the same image gets the same maps bit for bit.
        """

    def __call__(self, image: Tensor) -> HeadOutput:
        return HeadOutput(LogitEnsemble(lambda: self.run(image), self.passes))


def seeded(seed: int, like: Tensor) -> torch.Generator:
    """A generator of its own on the device of `like`, which leaves torch's global one alone."""
    return torch.Generator(like.device).manual_seed(seed)
