"""Sliding windows that average moments, not maps (METHODS 1.7)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from monai.inferers import Inferer, sliding_window_inference
from torch import Tensor

from uncertaintyseg.logits import Moments
from uncertaintyseg.segmenter import Network


def halved(window: Sequence[int], divisor: int | Sequence[int], times: int) -> tuple[int, ...]:
    """Window sizes, halved so many times and kept to sizes that a network with this divisor takes."""
    divisors = [divisor] * len(window) if isinstance(divisor, int) else divisor
    if not times:
        return tuple(window)
    return tuple(max(size // 2**times // d * d, d) for size, d in zip(window, divisors, strict=True))


class WindowedOutput(NamedTuple):
    """What sliding windows leave of a volume, averaged with Gaussian weights.

    Attributes:
        moments: of the class probabilities.
        features: `[B, F, *spatial]` that entered the head; None unless they were asked for.
        maps: the head's own maps, each `[B, 1, *spatial]`.
    """

    moments: Moments
    features: Tensor | None
    maps: dict[str, Tensor]


class MomentsInferer(Inferer):
    """Runs a network over a volume of any size and averages what it says in each window.

    Args:
        window: largest size in voxels. A volume smaller than it is one window, padded only to what the network
            needs: padding enters the statistics of instance normalisation.
        overlap: of neighbouring windows, 0 to 1 (exclusive).
        keep_features: also average the features that enter the head; the network is then a `Segmenter`.
        progress: called with the fraction done.
    """

    def __init__(
        self,
        window: Sequence[int],
        overlap: float = 0.5,
        *,
        keep_features: bool = False,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        super().__init__()
        self.window, self.overlap = tuple(window), overlap
        self.keep_features, self.progress = keep_features, progress

    def __call__(self, inputs: Tensor, network: Network) -> WindowedOutput:  # type: ignore[override]
        """Average over windows of `inputs` `[B, channels, *spatial]`; no gradient."""
        window = self.fitting(inputs.shape[2:], network.divisor)
        total = self._windows(inputs.shape[2:], window) * inputs.shape[0]
        done = 0
        names: list[str] = []

        def predict(patch: Tensor) -> dict[str, Tensor]:
            nonlocal done, names
            kept = {}
            if self.keep_features:
                kept["features"], taps = network.extract(patch)
                output = network.read(kept["features"], taps)
            else:
                output = network(patch)
            names = list(output.maps)
            done += patch.shape[0]
            self.progress(min(done / total, 1.0))
            return {"moments": output.distribution.moments().stacked(), **output.maps, **kept}

        with torch.inference_mode():
            out = sliding_window_inference(
                inputs, window, 1, predict, overlap=self.overlap, mode="gaussian", padding_mode="replicate"
            )
        return WindowedOutput(Moments.unstacked(out["moments"]), out.get("features"), {n: out[n] for n in names})

    def fitting(self, shape: Sequence[int], divisor: int | Sequence[int]) -> list[int]:
        """The window for a volume: no larger than need be, and of sizes that the network can halve."""
        divisors = [divisor] * len(shape) if isinstance(divisor, int) else list(divisor)
        window = [min(size, -(-axis // d) * d) for size, axis, d in zip(self.window, shape, divisors, strict=True)]
        if window == divisors:  # instance normalisation needs two voxels at the lowest level
            axis = max(axis for axis, d in enumerate(divisors) if d > 1 or max(divisors) == 1)
            window[axis] *= 2
        return window

    def _windows(self, shape: Sequence[int], windows: Sequence[int]) -> int:
        """How many windows cover one volume."""
        count = 1
        for size, window in zip(shape, windows, strict=True):
            step = window if window >= size else max(int(window * (1 - self.overlap)), 1)
            count *= max(math.ceil((size - window) / step), 0) + 1
        return count
