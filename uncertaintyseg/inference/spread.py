"""What whole segmentations drawn from a head say, and the features that they are drawn from, kept as planes go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.heads import Head
from uncertaintyseg.inference.shapes import FEWEST, shape_spread
from uncertaintyseg.inference.state import POSSIBLE, InferenceState
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.stream.windows import Slab
from uncertaintyseg.review.structures import Drawn
from uncertaintyseg.wire import Label

FEATURE_BYTES = 2**31
"""Features of larger volumes are not kept, and shapes of larger regions not drawn: the volume interval is then null."""
_DRAWN = 2**27
"""Voxels x draws at most, so that shapes of a large region take no longer than its network; never below `FEWEST`."""
_PER_CLASS = 16
"""Numbers a head works with at each voxel and class of a draw, for the memory that it takes."""


class Spread(NamedTuple):
    """What was drawn.

    Attributes:
        state: that more can be drawn from; None: nothing could be.
        drawn: volumes and Dice of the draws, or why there are none.
    """

    state: InferenceState | None
    drawn: Drawn


class ShapeKeeper:
    """Keeps of a model's finished planes what whole shapes are drawn from: features and possible foreground.

    Args:
        features: channels F.
        shape: of the model's grid.
        scratch: for the features.
        within: part of the grid that was asked for; nothing is drawn elsewhere.
    """

    def __init__(self, features: int, shape: Sequence[int], scratch: Scratch, within: Sequence[slice]) -> None:
        self._features = scratch.zeros("features", (features, *shape), np.float16)
        self._possible, self._within = np.zeros(shape, bool), tuple(within)

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
            kept = slab.values["features"].movedim(1, slab.axis + 1)
            self._features[(slice(None), *box)] = kept.to(torch.float16).cpu().numpy()
            yield slab

    def spread(
        self,
        head: Head,
        labels: Sequence[Label],
        affine: ArrayLike,
        label: np.ndarray,
        scan_affine: ArrayLike,
        samples: int,
        generator: torch.Generator,
        voxel_ml: float | None = None,
    ) -> Spread:
        """Volume intervals and Dice from coherent samples, or the reason why there are none.

        Args:
            head: of the network.
            labels: the structures.
            affine: of the model's grid, 4x4.
            label: that was made of it, class ids `[*S]` on the scan's grid.
            scan_affine: of that grid, 4x4.
            samples: whole segmentations to draw; fewer in a large region, but as many as an interval needs.
            generator: of the draws, on the network's device.
            voxel_ml: how large a voxel of the model's grid counts, where that is not its volume in mL.
        """
        state = InferenceState.around_foreground(self._features, self._possible, affine, self._within)
        if state is None:
            return Spread(None, Drawn("none: no voxel is possibly foreground"))
        shape = state.features.shape[1:]
        voxels = int(np.prod(shape))
        if 4 * voxels * (state.features.shape[0] + _PER_CLASS * head.classes) > 2 * FEATURE_BYTES:
            return Spread(None, Drawn("none: the possible foreground is too large to draw whole shapes of"))
        count = min(samples, max(_DRAWN // voxels, FEWEST))
        draws = state.labels(head, count, generator)
        own = state.label_here(label, scan_affine).to(generator.device)
        size = voxel_volume_ml(affine) if voxel_ml is None else voxel_ml
        return Spread(state, shape_spread(draws, own, labels, size, source=f"from the {head.name} head"))
