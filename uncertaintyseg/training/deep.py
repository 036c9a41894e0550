"""Deep supervision: the inner stages of a backbone are held to the labels too, while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe


@dataclass(frozen=True)
class DeepOutput:
    """The output of a network, and those of its coarser stages, the finest first."""

    output: HeadOutput
    coarser: list[HeadOutput]


class DeeplySupervised(nn.Module):
    """A network with a readout of its own (1x1x1 convolution) at each inner stage of its way up.

    The readouts serve the training and are no part of the model. As in nnU-Net the coarsest stage has none, where
    there are others.

    Args:
        network: whose backbone has taps; their modules give the features of a stage each.
        crop: size of a training window.

    Raises:
        BundleError: for a backbone without a stage coarser than its last features.
    """

    def __init__(self, network: Segmenter, crop: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        at = next(network.parameters()).device
        self.stages: list[str] = list(network.backbone.taps)
        was_training = network.training
        with torch.no_grad():
            _, found = self._run(torch.zeros(1, network.backbone.in_channels, *crop, device=at), evaluate=True)
        network.train(was_training)
        self.stages = [name for name in self.stages if found[name].shape[2:] != tuple(crop)][::-1]
        self.stages = self.stages[:-1] or self.stages
        if not self.stages:
            raise BundleError(
                "'recipe.deep_supervision' needs a backbone with inner stages (taps), and this one hands out none: "
                "set it to false."
            )
        classes = network.head.classes
        self.readouts = nn.ModuleList(nn.Conv3d(found[name].shape[1], classes, 1) for name in self.stages).to(at)

    def forward(self, image: Tensor) -> DeepOutput:
        """Image `[B, channels, *spatial]` to the network's output, and logits `[B, C, *coarser]` of its stages."""
        output, found = self._run(image)
        logits = (read(found[name]).float() for name, read in zip(self.stages, self.readouts, strict=True))
        return DeepOutput(output, [HeadOutput(GaussianLogits(each)) for each in logits])

    def _run(self, image: Tensor, *, evaluate: bool = False) -> tuple[HeadOutput, dict[str, Tensor]]:
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            return lambda module, inputs, features: found.__setitem__(name, features)

        network = self.network.eval() if evaluate else self.network
        with ExitStack() as hooks:
            for name in self.stages:
                module = network.backbone.tap_module(name)
                hooks.enter_context(module.register_forward_hook(keep(name)))
            return network(image), found


class DeepLoss:
    """A loss of a network's output and of its stages': weights 1, 1/2, 1/4, ... from fine to coarse, of sum 1."""

    def __init__(self, loss: HeadLoss) -> None:
        self.loss, self.generator = loss, loss.generator

    def __call__(self, output: DeepOutput, target: Tensor) -> Tensor:
        """Loss against class indices or `IGNORED` `[B, 1, *spatial]`."""
        parts = [self.loss(output.output, target)]
        parts += [self.loss(each, coarsened(target, each.distribution.mean.shape[2:])) for each in output.coarser]
        weights = [0.5**stage for stage in range(len(parts))]
        return sum(weight * part for weight, part in zip(weights, parts, strict=True)) / sum(weights)


def supervised(
    network: Segmenter, loss: HeadLoss, recipe: Recipe
) -> tuple[Segmenter | DeeplySupervised, HeadLoss | DeepLoss]:
    """What takes the steps of a recipe, and its loss: with readouts at the inner stages where the recipe says so."""
    if recipe.deep_supervision and recipe.backbone != "frozen":
        return DeeplySupervised(network, recipe.crop), DeepLoss(loss)
    return network, loss


def coarsened(target: Tensor, shape: Sequence[int]) -> Tensor:
    """The values `[B, 1, *spatial]` nearest to the middle of each voxel of a coarser grid over the same space."""
    for axis, (size, coarse) in enumerate(zip(target.shape[2:], shape, strict=True), start=2):
        if size != coarse:
            middle = (torch.arange(coarse, device=target.device) + 0.5) * (size / coarse)
            target = target.index_select(axis, middle.long().clamp_max(size - 1))
    return target
