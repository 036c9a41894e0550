"""Sliding windows over a volume that is small enough for all its moments to be held at once (METHODS 1.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from monai.inferers import Inferer
from torch import Tensor

from uncertaintyseg.inference.stream.averages import MomentAverage
from uncertaintyseg.inference.stream.layout import WindowLayout
from uncertaintyseg.inference.stream.windows import run_windows
from uncertaintyseg.logits import Moments
from uncertaintyseg.segmenter import Network


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
    """Runs a network over volumes and averages what it says in each window.

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
        self.layout = WindowLayout(tuple(window), overlap)
        self.keep_features, self.progress = keep_features, progress

    def __call__(self, inputs: Tensor, network: Network) -> WindowedOutput:  # type: ignore[override]
        """Average over windows of `inputs` `[B, channels, *spatial]`; no gradient."""
        plan = self.layout.over(inputs.shape[2:], network.divisor)
        found: dict[str, Tensor] = {}
        for b, volume in enumerate(inputs):

            def progress(done: int, total: int, before: int = b) -> None:
                self.progress((before + done / total) / len(inputs))

            average = _AllMoments(network, features=self.keep_features)
            for slab in run_windows(volume, plan, average, inputs.device, progress=progress):
                planes = slice(slab.planes.start, slab.planes.stop)
                for name, value in slab.values.items():
                    if name not in found:
                        found[name] = value.new_empty((len(inputs), len(value), *plan.shape))
                    found[name][b].movedim(slab.axis + 1, 1)[:, planes] = value
        moments, features = Moments.unstacked(found.pop("moments")), found.pop("features", None)
        return WindowedOutput(moments, features, found)

    def fitting(self, shape: Sequence[int], divisor: int | Sequence[int]) -> list[int]:
        """The window for a volume: no larger than need be, and of sizes that the network can halve."""
        return self.layout.fitting(shape, divisor)


class _AllMoments(MomentAverage):
    """Carries E[p^2] of every class."""

    def __init__(self, network: Network, *, features: bool) -> None:
        super().__init__(network, getattr(getattr(network, "head", None), "classes", 2), features=features)

    def _moments(self, moments: Moments) -> dict[str, Tensor]:
        return {"moments": moments.stacked()[0]}
