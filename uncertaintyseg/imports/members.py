"""Networks of one training, such as the folds of a cross-validation, as one network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.heads import Head, HeadOutput
from uncertaintyseg.logits import LogitDistribution, LogitEnsemble
from uncertaintyseg.segmenter import Segmenter


class Folds(nn.Module):
    """Several networks of one architecture; what they say is a mixture, in which each counts alike.

    Where logits are averaged (docs/adr/0011), the engine runs each of `networks` by itself.

    Args:
        network: of this architecture.
        count: how many.
    """

    def __init__(self, network: Segmenter, count: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList([network, *(deepcopy(network) for _ in range(count - 1))])

    @classmethod
    def of(cls, networks: Sequence[Segmenter]) -> Folds:
        """These networks as one."""
        folds = cls(networks[0], 1)
        folds.networks.extend(networks[1:])
        return folds

    @property
    def backbone(self) -> Backbone:
        """Of the first network, which stands for all where one is needed, such as for the features of a case."""
        return self.networks[0].backbone

    @property
    def head(self) -> Head:
        """Of the first network."""
        return self.networks[0].head

    @property
    def features(self) -> int:
        """Channels that the head of each reads."""
        return self.networks[0].features

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this."""
        return self.networks[0].divisor

    def forward(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to the mixture of what the networks say."""
        return HeadOutput(LogitEnsemble(lambda: self._run(image), len(self.networks)))

    def _run(self, image: Tensor) -> Iterator[LogitDistribution]:
        for network in self.networks:
            with torch.no_grad():
                yield network(image).distribution
