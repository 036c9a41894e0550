"""nnU-Net's own networks, cut before their output layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.nnunet.architecture import Architecture


class UNetBackbone(Backbone):
    """A U-Net of the package dynamic-network-architectures up to the features that enter the last segmentation layer.

    Its taps are what enters the convolutions of each step up, upsampled features and skip together, the coarsest first:
    "up_0" with twice the channels of the second-lowest stage, and so on (METHODS 7.1).

    Args:
        in_channels: image channels.
        architecture: as of `Architecture`.

    Raises:
        BundleError: for arguments that make no network, or where the package is not installed.
    """

    def __init__(self, in_channels: int, **architecture: Any) -> None:
        super().__init__()
        try:
            plan = Architecture.model_validate(architecture)
        except ValidationError as error:
            raise BundleError(f"'backbone': {error.errors()[0]['msg']}.") from error
        self.network = build_network(plan, in_channels, classes=1)
        self.network.decoder.seg_layers = nn.ModuleList([nn.Identity()])
        self.in_channels, self.features = in_channels, plan.features_per_stage[0]
        self.divisor = tuple(int(side) for side in np.prod(plan.strides, axis=0))
        skips = reversed(plan.features_per_stage[:-1])
        self.taps = {f"up_{step}": 2 * channels for step, channels in enumerate(skips)}

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, *spatial]` to features `[B, features, *spatial]`."""
        return self.network(image)

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        return self.network.decoder.stages[int(name.removeprefix("up_"))]


def build_network(plan: Architecture, in_channels: int, classes: int) -> nn.Module:
    """The whole network, as nnU-Net builds it for inference.

    Raises:
        BundleError: where the package that has it is not installed.
    """
    try:
        from dynamic_network_architectures.architectures import unet  # noqa: PLC0415 - most models do without it
    except ImportError as error:
        raise BundleError(
            "networks of nnU-Net need a small package of its makers. Install it without its dependencies, of which one "
            f"fails beside a CPU torch: pip install --no-deps dynamic-network-architectures ({error})"
        ) from error
    plain = plan.kind == "PlainConvUNet"
    own = {"nonlin_first": plan.nonlin_first} if plain else {"stem_channels": plan.stem_channels}
    network = getattr(unet, plan.kind)(
        input_channels=in_channels,
        n_stages=len(plan.features_per_stage),
        features_per_stage=plan.features_per_stage,
        conv_op=nn.Conv3d,
        kernel_sizes=plan.kernel_sizes,
        strides=plan.strides,
        num_classes=classes,
        n_conv_per_stage_decoder=plan.decoder_blocks,
        conv_bias=plan.conv_bias,
        norm_op=_module(plan.norm_op),
        norm_op_kwargs=plan.norm_options,
        dropout_op=_module(plan.dropout_op),
        dropout_op_kwargs=plan.dropout_options,
        nonlin=_module(plan.nonlin),
        nonlin_kwargs=plan.nonlin_options,
        deep_supervision=False,
        **{"n_conv_per_stage" if plain else "n_blocks_per_stage": plan.blocks},
        **own,
    )
    return network.eval()


def _module(name: str | None) -> type[nn.Module] | None:
    return None if name is None else getattr(nn, name)
