"""A backbone and a head: the network of a bundle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput, make_head


class Segmenter(nn.Module):
    """image -> backbone -> features -> head -> distribution over logits.

    Args:
        backbone: turns an image into features.
        head: name of a registered head.
        classes: C, background included.
        head_options: the head's own options.
    """

    def __init__(self, backbone: DynUNetBackbone, head: str, classes: int, **head_options: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = make_head(head, features=backbone.features, classes=classes, **head_options)

    def forward(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to the head's output at every voxel, in float32 also under mixed precision.

        Raises:
            InputError: for an image of the wrong channel count.
        """
        features = self.backbone(self.checked(image))
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())

    def checked(self, image: Tensor) -> Tensor:
        """The image itself, when the network can take it."""
        if image.shape[1] != self.backbone.in_channels:
            raise InputError(f"the image has {image.shape[1]} channels; this model takes {self.backbone.in_channels}.")
        return image
