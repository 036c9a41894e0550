"""Attention U-Net as MONAI has it, cut before its output layer (Oktay et al. 2018, arXiv:1804.03999; METHODS 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from monai.networks.nets import AttentionUnet
from monai.networks.nets.attentionunet import AttentionLayer
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone, check_dropout
from uncertaintyseg.backbones.slice_wise import as_slices, as_volumes
from uncertaintyseg.errors import BundleError


class AttentionUNetBackbone(Backbone):
    """A U-Net whose skips pass through gates, up to the features that enter the output layer.

    Its taps are what enters the convolutions of each step up, upsampled features and gated skip together, the coarsest
    first: "up_0" with twice the second-lowest level's channels, and so on, as those of `DynUNetBackbone`.

    The gates are 1x1 convolutions with batch normalisation: a = sigmoid(psi(relu(W_x x + W_g g))), x' = a x.

    Args:
        in_channels: image channels.
        filters: channels of each level, the full resolution first; each level halves the size. The thesis has 64, 128,
            256, 512, 1024 in 2D, which does not give the 15.1 M parameters that it names (METHODS A49).
        spatial_dims: 3, or 2 for a network that sees each slice along the last axis of the volume alone; that axis then
            needs no divisor.
        dropout: chance with which each value is dropped behind the convolutions while it is trained; what `mc_dropout`
            leaves on afterwards.

    Raises:
        BundleError: for fewer than two levels, another number of dimensions, or a dropout that is no chance.
    """

    def __init__(
        self,
        in_channels: int = 1,
        filters: Sequence[int] = (16, 32, 64, 96),
        spatial_dims: Literal[2, 3] = 3,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
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
            dropout=dropout or 0.0,
        )
        self.network.model[-1] = nn.Identity()
        self.spatial_dims = spatial_dims
        self.in_channels, self.features = in_channels, filters[0]
        side = 2 ** (len(filters) - 1)
        self.divisor: int | Sequence[int] = side if spatial_dims == 3 else (side, side, 1)
        self.taps = {f"up_{step}": 2 * channels for step, channels in enumerate(reversed(filters[:-1]))}

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, H, W, D]` to features `[B, features, H, W, D]`."""
        if self.spatial_dims == 3:
            return self.network(image)
        return as_volumes(self.network(as_slices(image)), image.shape[0])

    def tapped(self, image: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The last features and the named taps; in two dimensions taps are as deep as the image."""
        features, found = super().tapped(image, names)
        if self.spatial_dims == 2:
            found = {name: as_volumes(tap, image.shape[0]) for name, tap in found.items()}
        return features, found

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        layers = [module for module in self.network.modules() if isinstance(module, AttentionLayer)]  # the finest first
        return layers[len(self.taps) - 1 - int(name.removeprefix("up_"))].merge
