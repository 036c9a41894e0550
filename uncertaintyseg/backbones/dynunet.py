"""nnU-Net's architecture as MONAI has it, cut before its output layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.networks.nets import DynUNet
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone, check_dropout
from uncertaintyseg.errors import BundleError, InputError

Sizes = Sequence[int] | int
"""One number for all three axes, or one for each."""


class DynUNetBackbone(Backbone):
    """DynUNet up to the features that enter the output layer.

    Its taps are what enters the convolutions of each step up, upsampled features and skip together, the coarsest
    first: "up_0" with twice the second-lowest level's channels, and so on (METHODS 7.1).

    Args:
        in_channels: image channels.
        filters: channels of each level, the full resolution first.
        residual: residual blocks.
        kernels: size of the convolutions of each level, 3 by default; 1 along an axis leaves its neighbours alone, as
            thick slices want (nnU-Net).
        strides: how many times smaller than the level above each level is, 1 for the first; 2 by default.
        dropout: chance with which each channel is dropped behind every convolution while it is trained; what
            `mc_dropout` leaves on afterwards.

    Raises:
        BundleError: for fewer than 3 levels, another number of kernels or strides than levels, kernels that are even,
            a first stride other than 1, a stride that its kernel leaves gaps with, or a dropout that is no chance.
    """

    def __init__(
        self,
        in_channels: int = 1,
        filters: Sequence[int] = (16, 32, 64, 96),
        residual: bool = False,
        kernels: Sequence[Sizes] | None = None,
        strides: Sequence[Sizes] | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        levels = len(filters)
        sizes = _each(kernels if kernels is not None else [3] * levels, levels, "kernels")
        steps = _each(strides if strides is not None else [1] + [2] * (levels - 1), levels, "strides")
        _check(sizes, steps)
        check_dropout(dropout)
        self.network = DynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=filters[0],
            kernel_size=sizes,
            strides=steps,
            upsample_kernel_size=steps[1:],
            filters=filters,
            norm_name=("INSTANCE", {"affine": True}),
            res_block=residual,
            dropout=dropout,
        )
        self.network.output_block = nn.Identity()
        self.in_channels = in_channels
        self.features: int = filters[0]
        shrunk = tuple(math.prod(axis) for axis in zip(*steps, strict=True))
        self.divisor: int | Sequence[int] = shrunk[0] if len(set(shrunk)) == 1 else shrunk
        """Window sizes must be multiples of this; one number where all axes share it."""
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

    def tail(self, convolutions: int) -> nn.Sequential:
        """The last one or two convolutions, those of the last step up, with their norms and activations."""
        if convolutions not in (1, 2):
            raise InputError(f"'depth' is {convolutions + 1}; on a DynUNet it goes from 1, the output layer, to 3.")
        block = self.network.upsamples[-1].conv_block
        layers = [[block.conv1, block.norm1], [block.conv2, block.norm2]][-convolutions:]
        slope = block.lrelu.negative_slope  # the block's own works in place
        return nn.Sequential(*(part for pair in layers for part in (*pair, nn.LeakyReLU(slope))))

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        return self.network.upsamples[int(name.removeprefix("up_"))].conv_block


def _each(values: Sequence[Sizes], levels: int, name: str) -> list[tuple[int, ...]]:
    """One number an axis for each level."""
    if levels < 3:
        raise BundleError(f"a DynUNet needs at least 3 levels; 'filters' has {levels}.")
    if len(values) != levels:
        raise BundleError(f"'{name}' has {len(values)} entries; it needs one for each of the {levels} 'filters'.")
    found = [(value,) * 3 if isinstance(value, int) else tuple(value) for value in values]
    if any(len(value) != 3 or min(value) < 1 for value in found):
        raise BundleError(f"'{name}' needs one positive number for each level, or three of them, not {list(values)}.")
    return found


def _check(kernels: Sequence[Sequence[int]], strides: Sequence[Sequence[int]]) -> None:
    """Refuse what MONAI would turn into maps of another size than the skips have."""
    if any(size % 2 == 0 for level in kernels for size in level):
        raise BundleError("'kernels' must be odd: an even one moves the image by half a voxel.")
    if any(step != 1 for step in strides[0]):
        raise BundleError(f"the first of 'strides' is {list(strides[0])}; it must be 1, for the full resolution.")
    for level, (size, step) in enumerate(zip(kernels, strides, strict=True)):
        if any(s > k for k, s in zip(size, step, strict=True)):
            raise BundleError(
                f"level {level} has kernel {list(size)} and stride {list(step)}: a stride larger than its kernel would "
                "pass over voxels."
            )
