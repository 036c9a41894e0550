"""nnU-Net's architecture as MONAI has it, cut before its output layer."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import DynUNet
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone


class DynUNetBackbone(Backbone):
    """DynUNet up to the features that enter the output layer.

    Its taps are what enters the convolutions of each step up, upsampled features and skip together, the coarsest
    first: "up_0" with twice the second-lowest level's channels, and so on (METHODS 7.1).

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
        self.taps = {f"up_{step}": 2 * channels for step, channels in enumerate(reversed(filters[:-1]))}

    @classmethod
    def reference(cls, in_channels: int = 1) -> DynUNetBackbone:
        """The network that SegWithU was published on: five levels, residual blocks (METHODS 7.1).

        16.67 million parameters with one channel. Its authors train it with deep supervision, which adds nothing to
        what it computes afterwards; SegWithU reads its taps "up_1" and "up_2" beside the last features.
        """
        return cls(in_channels, filters=(32, 64, 128, 256, 320), residual=True)

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, D, H, W]` to features `[B, features, D, H, W]`."""
        return self.network(image)

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        return self.network.upsamples[int(name.removeprefix("up_"))].conv_block
