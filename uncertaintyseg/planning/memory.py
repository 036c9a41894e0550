"""How much memory a step of training takes, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.planning.topology import Topology

GB = 10**9
FLOAT = 4
_RUNTIME = 700 * 10**6
"""Of a process with torch and MONAI, or of a GPU with CUDA's context and what its convolutions work in."""
_MOMENTS = 2
"""Numbers that AdamW keeps of each parameter beside it and its gradient."""
_IN_FLIGHT = 4
"""Maps of the full resolution that are there at a time while gradients flow back and are not saved."""
_OF_LOGITS = 12
"""Copies of the logits in float32: probabilities, one-hot labels, products of the Dice, and their gradients."""
_OF_VOXEL = 16
"""Bytes a voxel: the label in 64 bits, and twice where it is known."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step."""

    runtime: int
    parameters: int
    """With their gradients and the optimiser's moments."""
    activations: int
    """That the backward pass needs, and gradients of maps."""
    logits: int
    """At full resolution, with the loss, and image and label."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.runtime + self.parameters + self.activations + self.logits


def step_memory(
    topology: Topology,
    features: Sequence[int],
    patch: Sequence[int],
    batch: int,
    *,
    channels: int,
    classes: int,
    half: bool = False,
    deep: bool = False,
) -> Memory:
    """Memory of one step: every map that the backward pass needs, parameters, optimiser, images, logits.

    Args:
        topology: of the network.
        features: channels of each level.
        patch: in voxels.
        batch: patches a step.
        channels: of the image.
        classes: C, background included.
        half: maps of the network are kept in 16 bits, as on a GPU.
        deep: inner levels have readouts and logits too.
    """
    voxels = batch * math.prod(patch)
    kept, parameters = _traced(topology, tuple(features), channels)
    number = FLOAT // 2 if half else FLOAT
    logits = voxels * (classes * FLOAT * _OF_LOGITS + _OF_VOXEL + channels * FLOAT)
    if deep:
        for level, share in _supervised(topology):
            logits += voxels * (classes * FLOAT * _OF_LOGITS + _OF_VOXEL) // share
            parameters += classes * (features[level] + 1)
    return Memory(
        _RUNTIME,
        parameters * FLOAT * (2 + _MOMENTS) + (parameters * number if half else 0),
        round(voxels * (kept + _IN_FLIGHT * features[0]) * number),
        logits,
    )


def multiply_adds(
    topology: Topology, features: Sequence[int], patch: Sequence[int], batch: int, channels: int
) -> float:
    """Multiply-adds of a step's convolutions, forwards and twice as many backwards."""
    found, before = 0.0, channels
    for level, (share, kernel) in enumerate(zip(_shares(topology), topology.kernels, strict=True)):
        width, last = features[level], level == topology.stages - 1
        pairs = before * width + width * width + (0 if last else 3 * width * width)
        found += math.prod(kernel) * pairs / share
        before = width
    return 3 * found * batch * math.prod(patch)


def _supervised(topology: Topology) -> list[tuple[int, int]]:
    """Levels with a readout of their own (`training.deep`), and their shares: neither the first nor the two lowest.

    Of three levels the middle one.
    """
    inner = list(enumerate(_shares(topology)))[1:-1]
    return inner[:-1] or inner


def _shares(topology: Topology) -> list[int]:
    """How many voxels of the image one of each level stands for."""
    shares = [1]
    for step in topology.strides[1:]:
        shares.append(shares[-1] * math.prod(step))
    return shares


@lru_cache(maxsize=256)
def _traced(topology: Topology, features: tuple[int, ...], channels: int) -> tuple[float, int]:
    """Numbers that the backward pass keeps, a voxel of the image, and parameters: read off a network of no substance.

    Tensors on torch's meta device have shapes and no memory; what autograd asks to keep of them is what it would keep.
    """
    patch = [4 * step for step in topology.divisor]
    kept: dict[int, Tensor] = {}
    with torch.device("meta"):
        network = DynUNetBackbone(
            channels, features[: topology.stages], kernels=topology.kernels, strides=topology.strides
        )
        own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}  # noqa: SLF001 - its identity

        def keep(tensor: Tensor) -> Tensor:
            kept.setdefault(tensor.untyped_storage()._cdata, tensor)  # noqa: SLF001
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(torch.empty(1, channels, *patch))
    size = sum(tensor.untyped_storage().nbytes() for identity, tensor in kept.items() if identity not in own)
    return size / FLOAT / math.prod(patch), sum(parameter.numel() for parameter in network.parameters())
