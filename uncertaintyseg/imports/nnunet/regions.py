"""Networks for nested regions: sigmoids that telescope to classes that exclude each other (NETWORKS 1.10).

Region i lies within region i - 1, so with q_i the sigmoid of its channel, no larger than q_(i-1) since it cannot be,
the class that region i adds to the one within it has p = q_i - q_(i+1), and the background has 1 - q_1. The label is
nnU-Net's: the innermost region in the list whose own sigmoid is above 1/2, whatever those around it say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.heads.deterministic import Deterministic
from uncertaintyseg.logits import GaussianLogits, Moments
from uncertaintyseg.segmenter import Segmenter


class NestedRegions:
    """Makes probabilities and a label of region logits.

    The logits are `[C, *S]` like those of other networks: 0 for the background, then a channel for each region.

    Args:
        order: the class id that each region stands for where no region within it holds; the outermost first.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self.order = list(order)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[C, *S]` to class probabilities `[C, *S]` and class ids `[*S]`."""
        sigmoid = logits[1:].sigmoid()
        label = torch.zeros(logits.shape[1:], dtype=torch.long, device=logits.device)
        for channel, class_id in enumerate(self.order):
            label.masked_fill_(sigmoid[channel] > 0.5, class_id)
        nested = sigmoid.cummin(0).values
        probability = torch.empty_like(logits)
        probability[0] = 1 - nested[0]
        probability[self.order] = nested - torch.cat([nested[1:], torch.zeros_like(nested[:1])])
        return probability, label


class RegionLogits(GaussianLogits):
    """All mass on region logits `[B, C, *spatial]`, of which `nested` makes the probabilities."""

    def __init__(self, mean: Tensor, nested: NestedRegions) -> None:
        super().__init__(mean)
        self.nested = nested

    def moments(self, nodes: int | None = None) -> Moments:  # noqa: ARG002 - nothing is integrated
        """Moments of the regions' classes."""
        return Moments.of_probability(torch.stack([self.nested(logits)[0] for logits in self.mean]))


class RegionHead(Deterministic):
    """The output layer of a region network, with a background channel that is 0 everywhere.

    Args:
        features: channels F entering the head.
        classes: C, background included.
        order: as of `NestedRegions`.
    """

    def __init__(self, features: int, classes: int, order: Sequence[int]) -> None:
        super().__init__(features, classes)
        self.nested = NestedRegions(order)

    def activation(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.nested(logits)

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:  # noqa: ARG002
        return HeadOutput(RegionLogits(self.mean(features), self.nested))


class RegionSegmenter(Segmenter):
    """A backbone and the output layer of a region network.

    Args:
        backbone: turns an image into features.
        head: "deterministic"; a region network takes no other.
        classes: C, background included.
        regions: as `order` of `NestedRegions`.
    """

    def __init__(self, backbone: Backbone, head: str, classes: int, regions: Sequence[int]) -> None:
        super().__init__(backbone, head, classes)
        self.head = RegionHead(backbone.features, classes, regions)
