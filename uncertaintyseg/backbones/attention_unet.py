"""Attention U-Net as MONAI has it, cut before its output layer (Oktay et al. 2018, arXiv:1804.03999; METHODS 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from monai.networks.nets import AttentionUnet
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone
from uncertaintyseg.errors import BundleError


class AttentionUNetBackbone(Backbone):
    """A U-Net whose skips pass through gates, up to the features that enter the output layer.

    The gates are 1x1 convolutions with batch normalisation: a = sigmoid(psi(relu(W_x x + W_g g))), x' = a x.

    Args:
        in_channels: image channels.
        filters: channels of each level, the full resolution first; each level halves the size. The thesis has 64, 128,
            256, 512, 1024 in 2D, which does not give the 15.1 M parameters that it names (METHODS A49).
        spatial_dims: 3, or 2 for a network that sees each slice along the last axis of the volume alone; that axis then
            needs no divisor.

    Raises:
        BundleError: for fewer than two levels, or another number of dimensions.
    """

    def __init__(
        self, in_channels: int = 1, filters: Sequence[int] = (16, 32, 64, 96), spatial_dims: Literal[2, 3] = 3
    ) -> None:
        super().__init__()
        if len(filters) < 2:
            raise BundleError(f"an Attention U-Net needs at least 2 levels; 'filters' has {len(filters)}.")
        if spatial_dims not in (2, 3):
            raise BundleError(f"'spatial_dims' is 3 for volumes or 2 for their slices, not {spatial_dims}.")
        self.network = AttentionUnet(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=filters[0],
            channels=filters,
            strides=[2] * (len(filters) - 1),
        )
        self.network.model[-1] = nn.Identity()
        self.spatial_dims = spatial_dims
        self.in_channels, self.features = in_channels, filters[0]
        side = 2 ** (len(filters) - 1)
        self.divisor: int | Sequence[int] = side if spatial_dims == 3 else (side, side, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, H, W, D]` to features `[B, features, H, W, D]`."""
        if self.spatial_dims == 3:
            return self.network(image)
        slices = self.network(image.movedim(-1, 1).flatten(0, 1))
        return slices.unflatten(0, (image.shape[0], -1)).movedim(1, -1)
