"""Of each structure the parts of a scan that it may be in, and what it sums to over all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.volumes import Block, BoxVolume


class StructureBoxes:
    """Gathers probability and variance of one structure.

    Args:
        structure: its class id.
        shape: of the scan.
        order: axes of the scan as the arrays have them, the planes' axis first.
        scratch: for what is kept.
        cut: probabilities below it are not kept, unless the label is the structure's; 0 keeps all.
    """

    def __init__(
        self, structure: int, shape: Sequence[int], order: Sequence[int], scratch: Scratch, cut: float
    ) -> None:
        self.structure, self.cut = structure, cut
        self._shape, self._order = tuple(shape), tuple(order)
        self._piles = {name: scratch.pile(f"{name}_{structure}") for name in ("probability", "variance")}
        # Summed plane by plane and added up at the end, so that it does not matter how planes were bundled.
        self._sums = {name: np.zeros(shape[order[0]]) for name in self._piles}
        self._starts: list[tuple[int, ...]] = []
        self._has_variance = False

    def add(
        self, probability: np.ndarray, label: np.ndarray, where: Sequence[slice], variance: np.ndarray | None = None
    ) -> None:
        """Take note of planes `[planes, *others]` that lie at `where` of the scan's axes in `order`.

        Args:
            probability: E[p] of the structure.
            label: class ids.
            where: one slice for each axis.
            variance: of p; for every chunk or for none.
        """
        maps = {"probability": probability} | ({} if variance is None else {"variance": variance})
        self._has_variance = variance is not None
        for name, values in maps.items():
            self._sums[name][where[0]] = [plane.sum(dtype=np.float64) for plane in values]
        kept = np.ones(probability.shape, bool)
        if self.cut > 0:
            kept = (probability >= self.cut) | (label == self.structure)
        box = _tight(kept)
        if box is None:
            return
        self._starts.append(tuple(part.start + inner.start for part, inner in zip(where, box, strict=True)))
        for name, values in maps.items():
            # What is too small is 0 also inside the box, which depends on how planes were bundled.
            self._piles[name].put(np.where(kept[box], values[box], 0))

    def finish(self) -> dict[str, BoxVolume]:
        """`probability_<id>`, and `variance_<id>` where it was given."""
        found = {}
        back = np.argsort(self._order)
        for name in ("probability", "variance")[: 1 + self._has_variance]:
            blocks = [
                Block(tuple(start[axis] for axis in back), values.transpose(back))
                for start, values in zip(self._starts, self._piles[name].arrays(), strict=True)
            ]
            found[f"{name}_{self.structure}"] = BoxVolume(self._shape, blocks, float(self._sums[name].sum()))
        return found


def _tight(kept: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box around the voxels of a mask; None where there are none."""
    box = []
    for axis in range(kept.ndim):
        hit = np.flatnonzero(kept.any(axis=tuple(a for a in range(kept.ndim) if a != axis)))
        if not hit.size:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)
