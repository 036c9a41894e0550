"""Any network cut before its last layer, so that heads may take its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones.base import NO_TAPS, Backbone
from uncertaintyseg.errors import BundleError


class CutBackbone(Backbone):
    """A network up to the features that enter its output layer, a 1x1x1 convolution.

    Args:
        network: image `[B, channels, *spatial]` to logits, or to a list of such (deep supervision); it is changed.
        layer: dotted name of its output layer; `output_layer` finds it.
        in_channels: image channels.
        divisor: window sizes must be multiples of this; one number, or one for each axis.
        taps: channels of inner maps, the coarsest first, each named after the module that it enters (dotted name).
        output: which of a list to take.

    Raises:
        BundleError: for a name that is no module, or an output layer of another kind.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        in_channels: int = 1,
        divisor: int | Sequence[int] = 1,
        taps: Mapping[str, int] = NO_TAPS,
        output: int = 0,
    ) -> None:
        super().__init__()
        known = dict(network.named_modules())
        for name in (layer, *taps):
            if name not in known or not name:
                raise BundleError(f"the network has no module '{name}' to name in 'layer' or 'taps'.")
        removed = known[layer]
        if not is_readout(removed):
            raise BundleError(f"'layer' is '{layer}', a {type(removed).__name__}; heads replace a 1x1x1 convolution.")
        self.network, self.in_channels, self.divisor, self.output = network, in_channels, divisor, output
        self.features: int = removed.in_channels
        self.taps = dict(taps)
        parent, _, child = layer.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, *spatial]` to features `[B, features, *spatial]`."""
        return _chosen(self.network(image.clone()), self.output)  # it may work on its input in place

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`."""
        return self.network.get_submodule(name)


def is_readout(module: nn.Module) -> bool:
    """Whether a module is a 1x1x1 convolution over all its channels, or, run on slices (`SliceWise`), a 1x1 one."""
    return (
        isinstance(module, nn.Conv3d | nn.Conv2d)
        and module.groups == 1
        and all(size == 1 for size in (*module.kernel_size, *module.stride))
        and not any(module.padding)
    )


@torch.no_grad()
def output_layer(network: nn.Module, image: Tensor, output: int = 0) -> str | None:
    """Dotted name of the 1x1x1 convolution that ends a network; None where it ends otherwise.

    One pass is traced, and a second one with that layer left out must give exactly what enters it: nothing comes after.

    Args:
        network: put into evaluation mode.
        image: `[B, channels, *spatial]` of a size that it takes.
        output: which of a list of outputs counts.
    """
    network.eval()
    calls: list[tuple[str, Tensor]] = []
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if is_readout(module):
                hooks.enter_context(module.register_forward_hook(_note(calls, name)))
        found = _chosen(network(image.clone()), output)
    ends = [name for name, made in calls if isinstance(found, Tensor) and made.data_ptr() == found.data_ptr()]
    if len(ends) != 1 or [name for name, _ in calls].count(ends[0]) != 1:  # a layer that runs twice is not the last one
        return None
    entered: list[Tensor] = []

    def left_out(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> Tensor:
        entered.append(inputs[0].clone())
        return inputs[0]

    with network.get_submodule(ends[0]).register_forward_hook(left_out):
        try:
            features = _chosen(network(image.clone()), output)
        except (RuntimeError, ValueError, IndexError):  # what comes after counts on the classes
            return None
    same = isinstance(features, Tensor) and features.shape == entered[0].shape and torch.equal(features, entered[0])
    return ends[0] if same else None


def _note(calls: list[tuple[str, Tensor]], name: str) -> Any:
    return lambda module, inputs, made: calls.append((name, made))


def _chosen(found: Any, output: int) -> Any:
    return found[output] if isinstance(found, list | tuple) else found
