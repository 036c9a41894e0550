"""A backbone and a head: the network of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HeadOutput, make_head


class Network(Protocol):
    """What sliding windows run, and what passes make of one another: an image in, a head's output out."""

    divisor: int | Sequence[int]
    """Window sizes must be multiples of this; one number, or one for each axis."""

    def __call__(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to a distribution over logits `[B, C, *spatial]`."""


class Segmenter(nn.Module):
    """image -> backbone -> features -> head -> distribution over logits.

    Args:
        backbone: turns an image into features.
        head: name of a registered head.
        classes: C, background included.
        head_options: the head's own options.

    Raises:
        BundleError: for an unknown head, or a head that reads taps which the backbone does not have.
        InputError: for a head whose posterior goes deeper than the backbone can be taken apart.
    """

    def __init__(self, backbone: Backbone, head: str, classes: int, **head_options: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = make_head(head, features=backbone.features, classes=classes, **head_options)
        for tap in self.head.taps:
            if tap not in backbone.taps:
                known = ", ".join(backbone.taps) or "none"
                raise BundleError(f"head '{head}' reads the tap '{tap}', the backbone has {known}: mend 'taps'.")
        if self.head.depth > 1:
            self.head.stand_on(backbone.tail(self.head.depth - 1))

    @property
    def networks(self) -> tuple[Segmenter, ...]:
        """The members of an ensemble that is averaged as one network (`LogitAverage`): here it alone."""
        return (self,)

    @property
    def features(self) -> int:
        """Channels that the head reads in evaluation."""
        return self.backbone.features + self.head.channels_beside

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this."""
        return self.backbone.divisor

    def forward(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to the head's output at every voxel.

        Raises:
            InputError: for an image of the wrong channel count.
        """
        return self.read(*self.extract(image))

    def extract(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the head reads: the last features with what it wants beside them `[B, features, *spatial]`, and taps."""
        if image.shape[1] != self.backbone.in_channels:
            raise InputError(f"the image has {image.shape[1]} channels; this model takes {self.backbone.in_channels}.")
        if self.head.taps:
            return self.backbone.tapped(image, self.head.taps)
        if self.head.channels_beside and not self.training:
            features, entered = self.backbone.above(self.head.tail, image)
            with torch.autocast(features.device.type, enabled=False):
                beside = self.head.beside(entered.float())
            return torch.cat([features, beside.to(features)], dim=1), {}
        return self.backbone(image), {}

    def read(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        """The head's output, in float32 also under mixed precision."""
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float(), {name: tap.float() for name, tap in (taps or {}).items()})
