"""The contract of a head: features in, a distribution over logits out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.wire import Source


@dataclass(frozen=True)
class HeadOutput:
    """What a head makes of features.

    Attributes:
        distribution: over logits `[B, C, *spatial]`.
        maps: maps of the head's own, beside those every distribution has; each `[B, 1, *spatial]`.
        penalties: weighted terms, by name, that the method adds to the objective; in training mode only.
    """

    distribution: GaussianLogits
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


class Head(nn.Module, ABC):
    """Base of all heads; `mean` is the 1x1x1 output layer that every segmentation network has.

    Args:
        features: channels F entering the head.
        classes: C, background included.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where the method comes from."""
    source: ClassVar[Source] = "aleatoric"
    objective: ClassVar[str] = "marginal_nll"
    """The objective (`training.objectives`) it is fitted with unless told otherwise."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.features, self.classes = features, classes
        self.mean = nn.Conv3d(features, classes, 1)

    @property
    def coherent(self) -> bool:
        """Whether its samples are whole shapes (noise shared by voxels)."""
        return False

    @abstractmethod
    def forward(self, features: Tensor) -> HeadOutput:
        """Features `[B, F, *spatial]` to a distribution over logits `[B, C, *spatial]`."""
