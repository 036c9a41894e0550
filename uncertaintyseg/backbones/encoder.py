"""Somebody else's encoder, which stays as it is, with a light decoder of ours (docs/adr/0023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone
from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.backbones.slice_wise import as_slices, as_volumes
from uncertaintyseg.errors import BundleError

_MAPS = 4
"""That are taken of an encoder all of whose maps have one size; of others one of each size."""
_AT_ONCE = 16
"""Slices."""
_SIZE = 224
"""Pixels of a picture's side, for encoders that take any."""


class Kind(NamedTuple):
    """A kind of encoder.

    Attributes:
        title: what it is called.
        model: class in `transformers`.
        config: class of its configuration.
        pooler: whether the class can be made without its pooling layer, which has weights that nobody needs here.
        any_size: it takes pictures of any size; else of that in its configuration.
    """

    title: str
    model: str
    config: str
    pooler: bool = False
    any_size: bool = False


ENCODERS = {
    "vit": Kind("ViT", "ViTModel", "ViTConfig", pooler=True),
    "deit": Kind("DeiT", "DeiTModel", "DeiTConfig", pooler=True),
    "beit": Kind("BEiT", "BeitModel", "BeitConfig", pooler=True),
    "dinov2": Kind("DINOv2", "Dinov2Model", "Dinov2Config", any_size=True),
    "dinov2_with_registers": Kind(
        "DINOv2 with registers", "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", any_size=True
    ),
    "swin": Kind("Swin", "SwinModel", "SwinConfig", pooler=True),
    "resnet": Kind("ResNet", "ResNetModel", "ResNetConfig", any_size=True),
    "convnext": Kind("ConvNeXt", "ConvNextModel", "ConvNextConfig", any_size=True),
}
"""By `model_type` of `transformers`."""


class Encoder(nn.Module):
    """A network of `transformers` that turns pictures into feature maps; it never learns here.

    Args:
        kind: a name of `ENCODERS`.
        config: of `transformers`, as plain values.

    Attributes:
        size: pixels of a picture's side.
        channels: of a picture.
        widths: channels of each map, the finest first.

    Raises:
        InputError: where `transformers` is missing.
        BundleError: for a configuration that makes no encoder.
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        super().__init__()
        if kind not in ENCODERS:
            raise BundleError(f"there is no encoder of the kind '{kind:.40}'; there are {', '.join(ENCODERS)}.")
        about = ENCODERS[kind]
        model, settings = transformers_class(about.model), transformers_class(about.config)
        how = {"add_pooling_layer": False} if about.pooler else {}
        try:
            self.model: nn.Module = model(settings(**config), **how).requires_grad_(False).eval()
            found = self.model.config
            self.channels = int(found.num_channels)
            self.size, self.patch = _size(found, about), getattr(found, "patch_size", None)
            with torch.inference_mode():
                maps = self(torch.zeros(1, self.channels, self.size, self.size))
        except Exception as error:  # transformers raises what it likes
            raise BundleError(f"this configuration makes no {about.title}: {str(error)[:200]}") from error
        self.widths = [each.shape[1] for each in maps]

    def train(self, mode: bool = True) -> Encoder:  # noqa: ARG002
        """Stays in evaluation mode, whatever learns around it."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures `[N, channels, size, size]` to maps `[N, widths[l], h_l, w_l]`, the finest, or earliest, first."""
        found = self.model(pictures, output_hidden_states=True)
        maps = getattr(found, "reshaped_hidden_states", None)
        maps = [self._map(each) for each in (maps or found.hidden_states)]
        if len({each.shape[-1] for each in maps}) > 1:
            return list({each.shape[-1]: each for each in maps}.values())  # the last of each size
        layers = len(maps) - 1  # the first has passed through none
        count = min(_MAPS, layers)
        return [maps[round(layers * number / count)] for number in range(1, count + 1)]

    def _map(self, found: Tensor) -> Tensor:
        """A map `[N, C, h, w]` of one, or of tokens `[N, n, C]`, those of no place first."""
        if found.ndim == 4:
            return found
        side = self.size // self.patch
        return found[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


class EncoderBackbone(Backbone):
    """Somebody else's encoder, slice by slice along the third axis, below a decoder that is trained.

    Slices are stretched to the size that the encoder takes; one grey channel is given for each of its colours.
    Intensities are those of the model's preprocessing: z-scores are what encoders of natural images were trained on.
    Its maps go to the grids of 1/2, 1/4, ... of the slice, however coarse they are, and up again in steps, joined with
    the map of each grid; at the full resolution two convolutions of the scan itself are joined, for no encoder keeps
    its edges (as in UNETR, Hatamizadeh et al. 2022). Convolutions are 3 x 3 x 1.

    Its taps are what enters each step up, the coarsest first, as those of `DynUNetBackbone`.

    Args:
        kind: as of `Encoder`.
        config: as of `Encoder`.
        in_channels: image channels: 1, or as many as the encoder takes.
        width: channels of the decoder; the last features have half of them.

    Raises:
        InputError: as `Encoder`.
        BundleError: as `Encoder`, and for another number of channels or a width that is not a multiple of 16.
    """

    divisor = 1

    def __init__(self, kind: str, config: Mapping[str, Any], in_channels: int = 1, width: int = 32) -> None:
        super().__init__()
        if width < 16 or width % 16:
            raise BundleError(f"'width' is {width}; it must be a multiple of 16.")
        self.encoder = Encoder(kind, config)
        if in_channels not in (1, self.encoder.channels):
            raise BundleError(
                f"this encoder takes pictures of {self.encoder.channels} channels, and the scans have {in_channels}: "
                "take an encoder of as many, or scans of one, which is given for each of its channels."
            )
        self.in_channels, self.features = in_channels, width // 2
        self.stem = nn.Sequential(_convolution(in_channels, width // 2), _convolution(width // 2, width // 2))
        self.lateral = nn.ModuleList(_convolution(channels, width, 1) for channels in self.encoder.widths)
        steps = len(self.encoder.widths) - 1
        self.steps = nn.ModuleList(_convolution(2 * width, width) for _ in range(steps))
        self.last = _convolution(width + width // 2, width // 2)
        self.taps = {f"up_{step}": 2 * width for step in range(steps)}

    @property
    def given(self) -> nn.Module:
        """The encoder: no training makes it."""
        return self.encoder

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, X, Y, Z]` to features `[B, width / 2, X, Y, Z]`."""
        maps = self._encoded(image)
        coarse: Tensor | None = None
        for level in reversed(range(len(maps))):
            shape = [*(max(1, -(-side // 2 ** (level + 1))) for side in image.shape[2:4]), image.shape[4]]
            own = _onto(self.lateral[level](maps[level]), shape)
            coarse = own if coarse is None else self.steps[-1 - level](torch.cat([_onto(coarse, shape), own], 1))
        return self.last(torch.cat([_onto(coarse, image.shape[2:]), self.stem(image)], 1))

    def _encoded(self, image: Tensor) -> list[Tensor]:
        """Maps `[B, C_l, h_l, w_l, Z]`."""
        slices = as_slices(image).expand(-1, self.encoder.channels, -1, -1)
        size = (self.encoder.size,) * 2
        with torch.no_grad():
            parts = [
                self.encoder(F.interpolate(some, size, mode="bilinear", align_corners=False, antialias=True))
                for some in slices.split(_AT_ONCE)
            ]
        return [as_volumes(torch.cat(level), len(image)) for level in zip(*parts, strict=True)]

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        return self.steps[int(name.removeprefix("up_"))]


def _size(config: Any, kind: Kind) -> int:
    """Pixels of a picture's side: what the configuration says, or that of most encoders, a multiple of the patch."""
    patch = getattr(config, "patch_size", 1)
    given = getattr(config, "image_size", _SIZE)
    if not isinstance(given, int) or not isinstance(patch, int) or given % patch:
        raise ValueError(f"pictures of {given} pixels and patches of {patch}")
    return min(given, _SIZE // patch * patch) if kind.any_size else given


def _convolution(channels: int, features: int, size: int = 3) -> nn.Module:
    """Within slices; normalised in groups, which maps of a single pixel allow too."""
    return Convolution(
        3, channels, features, kernel_size=(size, size, 1), norm=("GROUP", {"num_groups": 8}), act="LEAKYRELU"
    )


def _onto(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Features `[B, C, *spatial]` on another grid of the same slices."""
    if tuple(values.shape[2:]) == tuple(shape):
        return values
    return F.interpolate(values, tuple(shape), mode="trilinear", align_corners=False)
