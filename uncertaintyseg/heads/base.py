"""The contract of a head: features in, a distribution over logits out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.wire import MapInfo, Source

Terms = Callable[[Tensor, torch.Generator | None], Mapping[str, Tensor]]
FeatureStream = Iterable[tuple[Tensor, Tensor]]
"""Features `[1, F, *spatial]` and class indices `[1, *spatial]` of one volume after another; may be read again.

A negative class index marks a voxel that is not labelled: nothing is fitted to it."""


@dataclass(frozen=True)
class HeadOutput:
    """What a head makes of features.

    Attributes:
        distribution: over logits `[B, C, *spatial]`; Gaussian in training mode.
        maps: maps of the head's own, beside those every distribution has; each `[B, 1, *spatial]`.
        penalties: weighted terms, by name, that the method adds to the objective; in training mode only.
        penalties_at: the same over some of the voxels, bool `[B, *spatial]` with at least one; None where `penalties`
            are no means over voxels.
        terms: a loss of the method's own in place of objective and Dice: target `[B, 1, *spatial]` to weighted terms by
            name; voxels of a negative target are not labelled and count for nothing. In training mode only.
        paths: further distributions over the same logits, by name: in training mode Gaussian, and held to the same
            target by the same objective; afterwards whole segmentations can be drawn of them too.
    """

    distribution: LogitDistribution
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    penalties_at: Callable[[Tensor], Mapping[str, Tensor]] | None = None
    terms: Terms | None = None
    paths: Mapping[str, LogitDistribution] = field(default_factory=dict)


class Later(Mapping[str, Tensor]):
    """Maps that are made when somebody asks for one of them, all at once.

    Args:
        names: of the maps.
        make: makes them.
    """

    def __init__(self, names: Iterable[str], make: Callable[[], Mapping[str, Tensor]]) -> None:
        self._names, self._make = tuple(names), make

    @cached_property
    def _made(self) -> Mapping[str, Tensor]:
        return self._make()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Head(nn.Module, ABC):
    """Base of all heads; `mean` is the 1x1x1 output layer that every segmentation network has.

    A head may rescale the logits of that layer, but not reorder them: the most likely class of its mean is the plain
    network's.

    Args:
        features: channels F entering the head.
        classes: C, background included.

    Raises:
        BundleError: for fewer than two classes.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where the method comes from."""
    summary: ClassVar[str]
    """What it does, in one line."""
    source: ClassVar[Source] = "aleatoric"
    objective: ClassVar[str] = "marginal_nll"
    """The objective (`training.objectives`) it is trained with unless told otherwise."""
    stochastic: ClassVar[bool] = True
    """False where all mass lies on one logit vector."""
    fitted: ClassVar[bool] = False
    """True for a head that `fit` solves for; the others are trained by gradient."""
    completed: ClassVar[bool] = False
    """True for a head that is trained by gradient, and of which `fit` then solves for the rest."""
    whole_windows: ClassVar[bool] = False
    """True for a head that `fit` must show whole windows, not the parts of them that are new: it learnt from such."""
    reaches_backbone: ClassVar[bool] = True
    """False for a head whose loss moves nothing but itself, so that a network cannot learn by it."""
    fuses: ClassVar[bool] = False
    """True for a head that is made to read some of the backbone's taps (its option `taps`)."""
    further: ClassVar[tuple[str, ...]] = ()
    """Names of the further paths that its output has (`HeadOutput.paths`)."""
    of_images: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Options of its own on a network that sees one slice at a time, unless told otherwise."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise BundleError(f"a head needs at least 2 classes, background included; 'classes' is {classes}.")
        self.features, self.classes = features, classes
        self.mean = nn.Conv3d(features, classes, 1)

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the backbone's taps that it reads beside the last features."""
        return ()

    @property
    def coherent(self) -> bool:
        """Whether its samples are whole shapes (noise shared by voxels)."""
        return False

    @property
    def voxelwise(self) -> bool:
        """Whether each voxel's answer depends on that voxel's features alone, so that parts may be read apart."""
        return False

    @property
    def direct(self) -> bool:
        """Whether its output layer reads the backbone's features as they are, in one pass with Gaussian logits.

        Only then does that layer serve another head, and only then can a posterior widen it.
        """
        return True

    @property
    def taken_over(self) -> Head | None:
        """The trained head inside it that it takes over whole; None: of the model it starts from, the output layer."""
        return None

    @property
    def depth(self) -> int:
        """How many of the network's last convolutions it has a posterior of, if any; 1: the output layer alone."""
        return 1

    @property
    def tail(self) -> nn.Sequential | None:
        """The layers below it whose weights it has a posterior of (`Backbone.tail`); None: it has none of these."""
        return None

    @property
    def channels_beside(self) -> int:
        """Channels that it wants beside the last features, made by `beside`."""
        return 0

    def stand_on(self, tail: nn.Sequential) -> None:
        """Take note of the last layers of the backbone that it is put on; only where `depth` is above 1."""
        raise BundleError(f"the head '{self.name}' has no posterior of deeper layers.")

    def beside(self, entered: Tensor) -> Tensor:
        """What it wants beside the last features, `[B, channels_beside, *spatial]`.

        Args:
            entered: what enters `tail`, `[B, F', *spatial]`.
        """
        raise BundleError(f"the head '{self.name}' reads nothing but the last features.")

    @property
    def passes(self) -> int:
        """How often it runs its layers for one answer."""
        return 1

    def activation(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """What averaged logits `[C, *]` of its output layer say (docs/adr/0011).

        Returns:
            Probabilities `[C, *]`, and class ids `[*]` where they are not those of the largest; None: they are.
        """
        return logits.softmax(0), None

    @property
    def recipe(self) -> Mapping[str, object]:
        """Settings of a fit (`training.recipe`) that its authors publish and that differ from the usual ones."""
        return {}

    def extra_maps(self) -> dict[str, MapInfo]:
        """The maps of its own: unit, range (values are clamped into it) and source."""
        return {}

    @property
    def scaled_by(self) -> Mapping[str, str]:
        """Maps of its own that are to be multiplied by one number a case: the variance of another map over voxels."""
        return {}

    @abstractmethod
    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        """Features `[B, F, *spatial]`, what it wants beside them behind (and taps), to logits `[B, C, *spatial]`."""

    def fit(
        self, training: FeatureStream, validation: FeatureStream, below: FeatureStream | None = None
    ) -> dict[str, float]:
        """Solve for what the head learns without gradients, given its output layer; only if `fitted` or `completed`.

        Args:
            training: features and classes that it is fitted to.
            validation: those that choose what the training set cannot.
            below: what enters its `tail` in the windows of the training set, whole; None where it has none.

        Returns:
            What was chosen and how good it is, for the report.
        """
        raise BundleError(f"the head '{self.name}' is trained, not fitted.")


def noise_layer(features: int, channels: int, std: float = 0.05) -> nn.Conv3d:
    """A 1x1x1 layer of noise amplitudes that start small, so that a new head is nearly the plain network."""
    layer = nn.Conv3d(features, channels, 1)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


def log_variance_layer(features: int, classes: int, start: float = -2.0) -> nn.Conv3d:
    """A 1x1x1 layer of log-variances that are `start` everywhere at first."""
    layer = nn.Conv3d(features, classes, 1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, start)
    return layer
