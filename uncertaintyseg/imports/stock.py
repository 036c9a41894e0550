"""Networks that are not ours, as they are: passes run on them and nothing of them is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.passes.reuse import evaluating
from uncertaintyseg.logits import GaussianLogits

Activation = Literal["none", "softmax", "sigmoid"]
_TOLERANCE = 1e-2
"""What half precision may leave between probabilities and their sum of 1."""


class StockNetwork(nn.Module):
    """Any torch module that turns an image into logits, as a `Network`.

    It is run in evaluation mode; its weights, buffers and training flags stay as they are, whatever is done with this
    one's `train` and `eval`.

    Args:
        module: image `[B, channels, *spatial]` to logits `[B, C, *spatial]`, or a list of such (deep supervision).
        divisor: window sizes must be multiples of this.
        activation: what the module has already applied: with "softmax" or "sigmoid" the logits are read off its
            probabilities. One channel is the logit, or the probability, of a single structure.
        output: which of a list to take; most networks put the full resolution first.

    Raises:
        InputError: for another activation; on running, for an output that is not on the image's grid or no
            probabilities where they were announced.
    """

    def __init__(
        self, module: nn.Module, *, divisor: int | Sequence[int] = 1, activation: Activation = "none", output: int = 0
    ) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise InputError(f"'activation' is '{activation}'; choose {', '.join(get_args(Activation))}.")
        self.module, self.divisor, self.activation, self.output = module, divisor, activation, output
        self.training = False

    def train(self, mode: bool = True) -> StockNetwork:
        """Does not reach the module: its mode is its owner's."""
        self.training = mode
        return self

    def forward(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to all mass on the module's logits, float32."""
        with evaluating(self.module):
            found = self.module(image.clone())  # it may work on its input in place, and others still need the image
        if isinstance(found, list | tuple):
            if not -len(found) <= self.output < len(found):
                raise InputError(f"'output' is {self.output}, and this network gives a list of {len(found)}.")
            found = found[self.output]
        if not isinstance(found, Tensor) or found.ndim != image.ndim or found.shape[2:] != image.shape[2:]:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"this network answers an image of shape {tuple(image.shape)} with {shape}; passes need logits "
                "[B, C, *spatial] on the same voxels ('output' picks one of a list)."
            )
        return HeadOutput(GaussianLogits(self._logits(found.float())))

    def _logits(self, found: Tensor) -> Tensor:
        if self.activation == "none":
            return found
        single = found.shape[1] == 1
        if self.activation == "sigmoid" and not single:
            raise InputError(
                f"this network gives {found.shape[1]} sigmoid channels, structures that may overlap; passes need "
                "classes that exclude each other: take one channel, or a network with a softmax."
            )
        total = torch.ones_like(found) if single else found.sum(1, keepdim=True)
        wrong = (found < -_TOLERANCE) | (found > 1 + _TOLERANCE) | ((total - 1).abs() > _TOLERANCE)
        if not torch.isfinite(found).all() or wrong.any():
            raise InputError(f"this network's output is no probability; its 'activation' is not '{self.activation}'.")
        tiny = torch.finfo(found.dtype).tiny
        if single:
            return found.clamp_min(tiny).log() - (1 - found).clamp_min(torch.finfo(found.dtype).eps).log()
        return found.clamp_min(tiny).log()


class LogitsBackbone(Backbone):
    """A network that cannot be cut: its logits are the features, for heads to start from.

    Args:
        network: gives logits; one channel is that of a single structure.
        in_channels: image channels.
        channels: of its output.
    """

    def __init__(self, network: StockNetwork, in_channels: int, channels: int) -> None:
        super().__init__()
        self.network, self.in_channels, self.features = network, in_channels, channels
        self.divisor = network.divisor

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, *spatial]` to logits `[B, channels, *spatial]`."""
        return self.network(image).distribution.mean


@torch.no_grad()
def read_out(mean: nn.Conv3d, layer: nn.Conv3d | None) -> None:
    """Give the output layer of a head the weights of a network's own, or let logits through where there is none.

    A single channel, the logit of one structure, becomes two classes: its sigmoid is the softmax of 0 and it.
    """
    weight = torch.eye(mean.in_channels)[..., None, None, None] if layer is None else layer.weight
    mean.weight.zero_()[-len(weight) :].copy_(weight)
    mean.bias.zero_()
    if layer is not None and layer.bias is not None:
        mean.bias[-len(weight) :].copy_(layer.bias)
