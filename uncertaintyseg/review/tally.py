"""What a threshold on the error probability leaves wrong in one case, at all thresholds at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.review.boxes import slabs

GRID = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-13.8, 9.2, 399))), [1.0]])
"""Error probabilities that bound the bins, 1e-6 to 0.9999 even in their logit; fixed, as promises need."""


class Tally(NamedTuple):
    """Voxels of a case, or of several, by error probability; bin i holds those in (GRID[i - 1], GRID[i]]."""

    count: np.ndarray
    """Voxels in each bin `[401]`."""
    wrong: np.ndarray
    """Those whose label is wrong."""
    said: np.ndarray
    """Their error probabilities, summed."""

    def loss(self, reference_voxels: int) -> np.ndarray:
        """Wrong voxels left / reference voxels, at most 1, if all above GRID[i] are reviewed `[401]` (METHODS 15).

        It never falls with i. Without reference voxels it is 1 as soon as a wrong voxel is left, 0 before.
        """
        return np.minimum(np.cumsum(self.wrong) / max(reference_voxels, 1), 1.0)

    def reviewed(self) -> np.ndarray:
        """Share of the voxels above GRID[i] `[401]`."""
        return 1 - np.cumsum(self.count) / max(self.count.sum(), 1)


def tally(error_probability: np.ndarray, wrong: np.ndarray) -> Tally:
    """Count the voxels of a case.

    Args:
        error_probability: 1 - p[label] `[*S]`, in [0, 1].
        wrong: bool `[*S]`, where the label is not the reference's.

    Raises:
        InputError: for arrays of different shapes.
    """
    check_shapes("the error probability", error_probability.shape, wrong.shape)
    return pooled([_counted(error_probability[box], wrong[box]) for box in slabs(wrong.shape)])


def _counted(error_probability: np.ndarray, wrong: np.ndarray) -> Tally:
    said = np.clip(error_probability.reshape(-1).astype(np.float64), 0, 1)
    bins = np.searchsorted(GRID, said, side="left")
    weights = (None, wrong.reshape(-1), said)
    return Tally(*(np.bincount(bins, weights=values, minlength=GRID.size).astype(np.float64) for values in weights))


def pooled(tallies: list[Tally]) -> Tally:
    """All voxels of several cases."""
    return Tally(*(np.sum(values, axis=0) for values in zip(*tallies, strict=True)))
