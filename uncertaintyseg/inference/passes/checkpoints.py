"""Several trained networks as one (Lakshminarayanan et al. 2017): folds, seeds, or models of one task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.segmenter import Network


class Checkpoints(Passes):
    """One pass of each network.

    The networks may have heads of their own: within a network the variance is what its head says, between them it is
    their disagreement.

    Args:
        networks: at least two, which take the same images and know the same classes.

    Raises:
        InputError: for fewer than two; on reading, for networks with different numbers of classes.
    """

    name = "ensemble"
    paper = "Lakshminarayanan et al. 2017, deep ensembles"
    summary = "several trained networks of the same task"

    def __init__(self, networks: Sequence[Network]) -> None:
        if len(networks) < 2:
            raise InputError(f"an ensemble of {len(networks)} networks: name at least two models of the same task.")
        super().__init__(networks[0], passes=len(networks))
        self.networks = tuple(networks)

    @classmethod
    def count(cls, **options: Any) -> int:
        """One for each model; two are the least."""
        return max(2, 1 + len(options.get("models", ())))

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this: of what every network needs."""
        divisors = [network.divisor for network in self.networks]
        if all(isinstance(divisor, int) for divisor in divisors):
            return math.lcm(*divisors)
        axes = max(len(divisor) for divisor in divisors if not isinstance(divisor, int))
        each = [[divisor] * axes if isinstance(divisor, int) else divisor for divisor in divisors]
        return [math.lcm(*sizes) for sizes in zip(*each, strict=True)]

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        classes = None
        for number, network in enumerate(self.networks, start=1):
            with torch.no_grad():
                distribution = network(image).distribution
            found = distribution.mean.shape[1]
            if found != (classes := classes or found):
                raise InputError(
                    f"model {number} of the ensemble tells {found} classes apart, the first {classes}: "
                    "all must be of the same task."
                )
            yield distribution
