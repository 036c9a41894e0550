"""What whole segmentations drawn from a head say, and the features that they are drawn from, kept as planes go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.heads import Head
from uncertaintyseg.inference.shapes import ShapeSpread, shape_spread
from uncertaintyseg.inference.state import POSSIBLE, InferenceState
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.stream.windows import Slab
from uncertaintyseg.logits import largest
from uncertaintyseg.wire import Label

FEATURE_BYTES = 2**31
"""Features of larger volumes are not kept, and shapes of larger regions not drawn: the volume interval is then null."""
_DRAWN, _FEWEST = 2**27, 16
"""Voxels x draws at most, so that shapes of a large region take no longer than its network; never fewer draws."""
_PER_CLASS = 16
"""Numbers a head works with at each voxel and class of a draw, for the memory that it takes."""


class Spread(NamedTuple):
    """What was drawn.

    Attributes:
        state: that more can be drawn from; None: nothing could be.
        shapes: volumes and Dice of the draws.
        method: how they were made, or why there are none.
    """

    state: InferenceState | None
    shapes: ShapeSpread | None
    method: str


class ShapeKeeper:
    """Keeps of a model's finished planes what whole shapes are drawn from: features, label, possible foreground.

    Args:
        features: channels F.
        shape: of the model's grid.
        scratch: for the features.
    """

    def __init__(self, features: int, shape: Sequence[int], scratch: Scratch) -> None:
        self._features = scratch.zeros("features", (features, *shape), np.float16)
        self._possible, self._label = np.zeros(shape, bool), np.zeros(shape, np.uint8)

    @staticmethod
    def fits(features: int, shape: Sequence[int]) -> bool:
        """Whether the features of such a volume are kept."""
        return 2 * features * int(np.prod(shape)) <= FEATURE_BYTES

    def watching(self, slabs: Iterable[Slab]) -> Iterator[Slab]:
        """The slabs, noted as they go by."""
        for slab in slabs:
            p = slab.values["probability"].movedim(1, slab.axis + 1)
            box = [slice(first, first + size) for first, size in zip(slab.corner, p.shape[1:], strict=True)]
            self._possible[tuple(box)] = (1 - p[0] > POSSIBLE).cpu().numpy()
            self._label[tuple(box)] = largest(p)[1].cpu().numpy()
            kept = slab.values["features"].movedim(1, slab.axis + 1)
            self._features[(slice(None), *box)] = kept.to(torch.float16).cpu().numpy()
            yield slab

    def spread(
        self,
        head: Head,
        labels: Sequence[Label],
        affine: ArrayLike,
        samples: int,
        generator: torch.Generator,
    ) -> Spread:
        """Volume intervals and Dice from coherent samples, or the reason why there are none.

        Args:
            head: of the network.
            labels: the structures.
            affine: of the model's grid, 4x4.
            samples: whole segmentations to draw; fewer in a large region.
            generator: of the draws, on the network's device.
        """
        state = InferenceState.around_foreground(self._features, self._possible, affine)
        if state is None:
            return Spread(None, None, "none: no voxel is possibly foreground")
        label = torch.from_numpy(np.ascontiguousarray(self._label[state.region])).to(generator.device)
        if 4 * label.numel() * (head.features + _PER_CLASS * head.classes) > 2 * FEATURE_BYTES:
            return Spread(None, None, "none: the possible foreground is too large to draw whole shapes of")
        count = min(samples, max(_DRAWN // label.numel(), _FEWEST))
        draws = state.labels(head, count, generator)
        found = shape_spread(draws, label, labels, voxel_volume_ml(affine))
        return Spread(state, found, f"2.5 to 97.5 % of {count} whole segmentations drawn from the {head.name} head")
