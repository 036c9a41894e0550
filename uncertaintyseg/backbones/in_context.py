"""A network that is shown what to segment: its examples are among its tensors (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone
from uncertaintyseg.backbones.slice_wise import as_slices, as_volumes
from uncertaintyseg.backbones.universeg import UniverSeg
from uncertaintyseg.errors import InputError


class InContextBackbone(Backbone):
    """UniverSeg with its examples, slice by slice: one binary run for each structure, their features side by side.

    Args:
        features_of_levels: of the network, the finest first.
        size: height and width of its images.
        examples: how many slices it is shown.
        structures: K.

    Attributes:
        images: slices `[S, 1, size, size]`, in 0..1; they and `labels` come with the weights.
        labels: of each structure in them `[K, S, 1, size, size]`, 0 or 1.
    """

    in_channels = 1

    def __init__(self, features_of_levels: Sequence[int], size: int, examples: int, structures: int) -> None:
        super().__init__()
        self.network = UniverSeg(features_of_levels).requires_grad_(False)
        self.size, self.structures = size, structures
        self.features = structures * self.network.features[0]
        self.divisor = (size, size, 1)
        self.register_buffer("images", torch.zeros(examples, 1, size, size))
        self.register_buffer("labels", torch.zeros((structures, examples, 1, size, size), dtype=torch.uint8))

    @contextmanager
    def shown(self, images: Tensor, labels: Tensor) -> Iterator[None]:
        """Other examples for a while, of any number; shapes as of the attributes."""
        before = self.images, self.labels
        self.images, self.labels = images, labels
        try:
            yield
        finally:
            self.images, self.labels = before

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, 1, size, size, D]`, its slices in 0..1, to features `[B, K * F, size, size, D]`.

        Raises:
            InputError: for slices of another size than the examples.
        """
        if image.shape[2:4] != self.images.shape[-2:]:
            raise InputError(
                f"slices of {image.shape[2]} x {image.shape[3]} pixels, and the examples have "
                f"{self.images.shape[-2]} x {self.images.shape[-1]}: name symmetries of axes 0 and 1 alone, no scales."
            )
        slices = as_slices(image)
        images = self.images.expand(len(slices), *self.images.shape)
        found = [
            self.network.read(slices, images, labels.to(image.dtype).expand(len(slices), *labels.shape))
            for labels in self.labels
        ]
        return as_volumes(torch.cat(found, 1), image.shape[0])


@torch.no_grad()
def read_out_structures(mean: nn.Conv3d, network: UniverSeg) -> None:
    """Give the output layer of a head the network's own for each structure, and the background the logit 0.

    The softmax of 0 and the logits z_k of K binary runs is what they say together given that a voxel is of one
    structure at most: the chance of k alone, s(z_k) times all other 1 - s(z_j), is in proportion to exp(z_k), and that
    of none to 1. Of one structure it is its sigmoid.
    """
    layer = network.out_conv["conv"]
    width = layer.in_channels
    mean.weight.zero_()
    mean.bias.zero_()
    for number in range(mean.out_channels - 1):
        mean.weight[number + 1, number * width : (number + 1) * width, 0, 0, 0] = layer.weight[0, :, 0, 0]
        mean.bias[number + 1] = layer.bias[0]
