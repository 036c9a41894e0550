"""Feature maps of several resolutions as one (METHODS 7.2, item 1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError, InputError


class Fusion(nn.Module):
    """Taps and the last features, brought to one width and one grid, then mixed by two 3x3x3 convolutions.

    Args:
        taps: channels of each tap by name.
        features: channels of the last features.
        width: channels of each once projected, and of the result.
        faithful: set side by side on the grid of the last features, as in the authors' code; otherwise added up on that
            of the finest tap: with two taps, at half resolution, a sixteenth of the 3x3x3 arithmetic (METHODS 7.6).
    """

    def __init__(self, taps: Mapping[str, int], features: int, width: int, faithful: bool) -> None:
        super().__init__()
        self.taps, self.faithful = dict(taps), faithful
        self.project = nn.ModuleList(nn.Conv3d(c, width, 1, bias=False) for c in [*taps.values(), features])
        self.mix = nn.Sequential(
            nn.Conv3d(width * (len(taps) + 1) if faithful else width, width, 3, padding=1, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.GELU(),
            nn.Conv3d(width, width, 3, padding=1, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.GELU(),
        )

    def forward(self, features: Tensor, taps: Mapping[str, Tensor]) -> Tensor:
        """Last features `[B, F, *spatial]` and taps to `[B, width, *grid]`.

        Raises:
            BundleError: for a tap that is not there or has another number of channels.
            InputError: for a grid of one voxel, whose statistics instance normalisation cannot take.
        """
        inner = [self._checked(name, taps) for name in self.taps]
        grid = features.shape[2:]
        if not self.faithful:
            grid = max((tap.shape[2:] for tap in inner), key=lambda size: size.numel())
        if grid.numel() < 2:
            raise InputError(
                "the image leaves SegWithU one voxel to normalise where it fuses its taps; give it a larger image."
            )
        last = resized(features, grid)  # halved, this is the mean of 8 voxels
        parts = [resized(layer(part), grid) for layer, part in zip(self.project, [*inner, last], strict=True)]
        return self.mix(torch.cat(parts, dim=1) if self.faithful else sum(parts[1:], start=parts[0]))

    def _checked(self, name: str, taps: Mapping[str, Tensor]) -> Tensor:
        if name not in taps:
            raise BundleError(
                f"SegWithU reads the tap '{name}' and was given {', '.join(taps) or 'none'}: mend 'taps'."
            )
        if taps[name].shape[1] != self.taps[name]:
            raise BundleError(
                f"the tap '{name}' has {taps[name].shape[1]} channels; 'taps' says {self.taps[name]}: mend it."
            )
        return taps[name]


def resized(maps: Tensor, grid: torch.Size) -> Tensor:
    """Trilinear resampling of `[B, K, *spatial]`; the same tensor where it has that size."""
    if maps.shape[2:] == grid:
        return maps
    return nn.functional.interpolate(maps, size=grid, mode="trilinear", align_corners=False)
