"""Test-time augmentation: what a network says of the same patch mirrored, turned, rescaled or brightened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from uncertaintyseg.backbones.prompted import picture_channels, prompted
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.passes.examples import in_context
from uncertaintyseg.inference.passes.ranges import Range, check_ranges
from uncertaintyseg.inference.passes.symmetry import Symmetry, SymmetryName, group, shared_divisor, slice_turns
from uncertaintyseg.logits import LogitDistribution, Moments
from uncertaintyseg.segmenter import Network

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Augmentation:
    """What one pass does to its patch.

    Attributes:
        symmetry: of the grid.
        intensity: factor on the image.
        scale: factor on the number of voxels along each axis.
    """

    symmetry: Symmetry
    intensity: float = 1.0
    scale: float = 1.0

    def apply(self, image: Tensor, divisor: int | Sequence[int] = 1, prompts: int = 0) -> Tensor:
        """`[B, channels, *spatial]` as the network is to see it; rescaled sizes are rounded to what it can halve.

        The last channels may be `prompts`, which get no brighter.
        """
        turned = self.symmetry.apply(image)
        if self.intensity != 1:
            brighter = turned * self.intensity
            brighter[:, image.shape[1] - prompts :] = turned[:, image.shape[1] - prompts :]
            turned = brighter
        return turned if self.scale == 1 else _resized(turned, self._sizes(turned.shape[2:], divisor))

    def invert(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """What the network said, `[B, C, *]`, on the patch's own grid of `shape`; the values are not rescaled."""
        if self.scale != 1:
            tensor = _resized(tensor, self.symmetry.shape(shape))
        return self.symmetry.invert(tensor)

    def _sizes(self, shape: Sequence[int], divisor: int | Sequence[int]) -> list[int]:
        divisors = [divisor] * len(shape) if isinstance(divisor, int) else list(divisor)
        sizes = [max(d, round(side * self.scale / d) * d) for side, d in zip(shape, divisors, strict=True)]
        if sizes == divisors:  # instance normalisation needs two voxels at the lowest level
            sizes[-1] *= 2
        return sizes


class Inverted:
    """A distribution over the logits of an augmented patch, read on the grid of the patch itself.

    The moments are brought back, not the logits: interpolated moments are those of a mixture of the voxels around,
    so that probabilities still sum to 1 and variances stay variances.

    Args:
        inner: what the network says of the augmented patch.
        augmentation: what was done to it.
        shape: of the patch, spatial.
    """

    def __init__(self, inner: LogitDistribution, augmentation: Augmentation, shape: Sequence[int]) -> None:
        self._inner, self._augmentation, self._shape = inner, augmentation, tuple(shape)

    @property
    def mean(self) -> Tensor:
        """Mean logits `[B, C, *spatial]`."""
        return self._back(self._inner.mean)

    def moments(self) -> Moments:
        """Moments at each voxel of the patch."""
        return Moments.unstacked(self._back(self._inner.moments().stacked()))

    def sample(self, count: int, generator: Any = None) -> Iterator[Tensor]:
        """Draws of the logits `[B, C, *spatial]`, one at a time."""
        return (self._back(draw) for draw in self._inner.sample(count, generator))

    def _back(self, tensor: Tensor) -> Tensor:
        return self._augmentation.invert(tensor, self._shape)


class Augmented(Passes):
    """Averages a network over the symmetries of the voxel grid: exact, without randomness (METHODS 5.3, 12).

    Every combination of a symmetry, an intensity and a scale is one pass; none is done twice. The paper's 30 passes of
    a U-Net are `symmetries=(0,), intensities=(0.8, 0.9, 1, 1.1, 1.2), scales=(0.5, 1, 2)`.

    Args:
        network: any.
        symmetries: "flips", 8 passes; "rotations", 24; "cube", 48; "none"; or the axes that may be reversed. Axes are
            exchanged only where their voxels are equally long within 1 %: `symmetry.group` says which are left.
        intensities: factors on the image as the network takes it.
        scales: factors on the number of voxels along each axis.
        spacing: voxel size of each axis, mm; None for equal sizes in space.
        faithful: the 16 passes in a slice of the paper's code instead of `symmetries`, each of the 8 distinct ones
            twice (METHODS A47).

    A network that is shown examples is shown them as the image is: turned, and as bright. Prompts are turned with it.

    Raises:
        InputError: for symmetries that the voxel sizes forbid, or factors that are not positive.
    """

    name = "tta"
    paper = "Wang et al. 2019; González Salas, Foundation models adapted without retraining"
    summary = "the image mirrored or turned, and the answers brought back; no randomness"
    source = "aleatoric"

    def __init__(
        self,
        network: Network,
        *,
        symmetries: SymmetryName | Sequence[int] = "flips",
        intensities: Annotated[Sequence[float], Range(0.01, 100)] = (1.0,),
        scales: Annotated[Sequence[float], Range(0.1, 4)] = (1.0,),
        spacing: Sequence[float] | None = None,
        faithful: bool = False,
    ) -> None:
        check_ranges(Augmented, locals())
        self.augmentations = augmentations(symmetries, intensities, scales, spacing, faithful=faithful)
        super().__init__(network, passes=len(self.augmentations))
        if prompted(network) is not None:
            _check_within_slices(self.augmentations)

    @classmethod
    def count(cls, **options: Any) -> int:
        """How many passes there are with these options on a grid of equal voxel sizes."""
        return len(augmentations(**options))

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this, also after axes were exchanged."""
        return shared_divisor([augmentation.symmetry for augmentation in self.augmentations], self.network.divisor)

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        """One pass an augmentation, in their order.

        Raises:
            InputError: for an image with other axes than the spacing.
        """
        shape, axes = image.shape[2:], len(self.augmentations[0].symmetry.permutation)
        if len(shape) != axes:
            raise InputError(f"the image has {len(shape)} axes, the symmetries {axes}; give the spacing of its axes.")
        prompts = image.shape[1] - picture_channels(self.network, image)
        for augmentation in self.augmentations:
            with torch.no_grad(), self._examples_too(augmentation):
                output = self.network(augmentation.apply(image, self.network.divisor, prompts))
            yield Inverted(output.distribution, augmentation, shape)

    @property
    def looks(self) -> int:
        return self.passes - 1

    def _examples_too(self, augmentation: Augmentation) -> AbstractContextManager[None]:
        backbone = in_context(self.network)
        if backbone is None:
            return nullcontext()
        images, labels = (part[..., None] for part in (backbone.images, backbone.labels))
        drawn = replace(augmentation, intensity=1.0)
        turned = [drawn.apply(one)[..., 0] for one in labels]
        return backbone.shown(augmentation.apply(images)[..., 0], torch.stack(turned))


def _check_within_slices(found: Sequence[Augmentation]) -> None:
    """Raise `InputError` for what exchanges slices, or changes how many pixels they have."""
    if any(one.scale != 1 or one.symmetry.permutation[-1] != len(one.symmetry.permutation) - 1 for one in found):
        raise InputError(
            "a model that is prompted looks at single slices, and makes each the size that it takes: name symmetries "
            "of axes 0 and 1 alone, no scales."
        )


def augmentations(
    symmetries: SymmetryName | Sequence[int] = "flips",
    intensities: Sequence[float] = (1.0,),
    scales: Sequence[float] = (1.0,),
    spacing: Sequence[float] | None = None,
    *,
    faithful: bool = False,
) -> tuple[Augmentation, ...]:
    """All combinations, as of `Augmented`; distinct unless `faithful`."""
    spacing = (1.0, 1.0, 1.0) if spacing is None else tuple(spacing)
    chosen = slice_turns(spacing) if faithful else group(symmetries, spacing)
    return tuple(
        Augmentation(*parts)
        for parts in product(chosen, _factors("intensities", intensities), _factors("scales", scales))
    )


def _factors(name: str, values: Sequence[float]) -> tuple[float, ...]:
    if not (distinct := tuple(dict.fromkeys(values))):
        raise InputError(f"'{name}' lists no factor; leave it out, or give 1.")
    return distinct


def _resized(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    return F.interpolate(tensor, size=list(sizes), mode=_INTERPOLATION[len(sizes)], align_corners=False)
