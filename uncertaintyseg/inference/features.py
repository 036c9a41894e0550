"""What a case looks like to a network: its coarsest features, as one vector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone


class PooledFeatures:
    """Mean over space and windows of the coarsest features that a backbone hands out (its first tap, else its last)."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, features: Tensor) -> None:
        """Take note of features `[B, F, *spatial]` of a window."""
        pooled = features.detach().float().flatten(2).mean(2)
        self._sum = pooled.sum(0) if self._sum is None else self._sum + pooled.sum(0)
        self._count += pooled.shape[0]

    @property
    def vector(self) -> np.ndarray:
        """float32 `[F]`; empty when the network did not run."""
        return np.zeros(0, np.float32) if self._sum is None else (self._sum / self._count).cpu().numpy()


@contextmanager
def pooled_features(backbone: Backbone) -> Iterator[PooledFeatures]:
    """Pool the features of whatever runs through a backbone meanwhile; one call at a time."""
    found = PooledFeatures()

    def entering(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.add(inputs[0])

    def leaving(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.add(output)

    taps = getattr(backbone, "taps", {})
    if taps:
        hook = backbone.tap_module(next(iter(taps))).register_forward_pre_hook(entering)
    else:
        hook = backbone.register_forward_hook(leaving)
    with hook:
        yield found
