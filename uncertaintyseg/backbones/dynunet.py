"""nnU-Net's architecture as MONAI has it, cut before its output layer."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import DynUNet
from torch import Tensor, nn


class DynUNetBackbone(nn.Module):
    """DynUNet up to the features that enter the output layer.

    Args:
        in_channels: image channels.
        filters: channels of each level, the full resolution first; each level halves the size.
        residual: residual blocks.
    """

    def __init__(self, in_channels: int = 1, filters: Sequence[int] = (16, 32, 64, 96), residual: bool = False) -> None:
        super().__init__()
        strides = [1] + [2] * (len(filters) - 1)
        self.network = DynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=filters[0],
            kernel_size=[3] * len(filters),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            norm_name=("INSTANCE", {"affine": True}),
            res_block=residual,
        )
        self.network.output_block = nn.Identity()
        self.in_channels = in_channels
        self.features: int = filters[0]
        self.divisor = 2 ** (len(filters) - 1)
        """Window sizes must be multiples of this."""

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, D, H, W]` to features `[B, features, D, H, W]`."""
        return self.network(image)
