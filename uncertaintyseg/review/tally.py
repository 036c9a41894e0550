"""What a threshold on a risk map leaves wrong in one case, at all thresholds at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.review.boxes import slabs

GRID = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-13.8, 9.2, 399))), [1.0]])
"""Error probabilities that bound the bins, 1e-6 to 0.9999 even in their logit."""
_FINE = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-13.8, 13.8, 2**14 - 3))), [1.0]])
_BY_WRONG, _BY_COUNT = 80, 24


class Tally(NamedTuple):
    """Voxels of a case, or of several, by their risk; bin i holds those in (edge i - 1, edge i], such as of `GRID`."""

    count: np.ndarray
    """Voxels in each bin `[E]`."""
    wrong: np.ndarray
    """Those whose label is wrong."""
    said: np.ndarray
    """Their risks, summed."""

    def loss(self, reference_voxels: int) -> np.ndarray:
        """Wrong voxels left / reference voxels, at most 1, if all above edge i are reviewed `[E]` (METHODS 15).

        It never falls with i. Without reference voxels it is 1 as soon as a wrong voxel is left, 0 before.
        """
        return np.minimum(np.cumsum(self.wrong) / max(reference_voxels, 1), 1.0)

    def reviewed(self) -> np.ndarray:
        """Share of the voxels above edge i `[E]`."""
        return 1 - np.cumsum(self.count) / max(self.count.sum(), 1)

    def merged(self, kept: np.ndarray) -> Tally:
        """The same voxels in fewer bins: those between the edges at the indices `kept`, the last among them."""
        first = np.concatenate([[0], kept[:-1] + 1])
        return Tally(*(np.add.reduceat(values, first) for values in self))


def fine_edges(limits: tuple[float, float]) -> np.ndarray:
    """Edges of very many bins for a map with values between `limits`, dense at both ends; rising."""
    low, high = limits
    edges = low + (high - low) * _FINE
    edges[-1] = high
    return edges


def telling_edges(voxels: Tally) -> np.ndarray:
    """Indices of about a hundred edges that tell most of what many say, rising, the first and the last among them.

    They are even in the square root of the share of errors below, so that little loss is told apart, and in the
    logarithm of the share of voxels above. Promises allow to choose them so, from the cases that they are made with:
    losses never fall with the threshold, and a promise takes one at which its bound holds, so at most the one that
    it would take among all thresholds (docs/review.md).
    """
    wrong, count = (np.cumsum(values) / max(values.sum(), 1) for values in (voxels.wrong, voxels.count))
    last = len(wrong) - 1
    marks = [
        np.searchsorted(wrong, np.linspace(0, 1, _BY_WRONG) ** 2),
        np.searchsorted(count, 1 - np.geomspace(1, 1e-6, _BY_COUNT)),
    ]
    return np.unique(np.minimum(np.concatenate([[0, last], *marks]), last))


def tally(risk: np.ndarray, wrong: np.ndarray, edges: np.ndarray = GRID) -> Tally:
    """Count the voxels of a case.

    Args:
        risk: `[*S]`, such as the error probability; what lies beyond the edges counts as at them.
        wrong: bool `[*S]`, where the label is not the reference's.
        edges: of the bins, rising `[E]`.

    Raises:
        InputError: for arrays of different shapes.
    """
    check_shapes("the risk map", risk.shape, wrong.shape)
    return pooled([_counted(risk[box], wrong[box], edges) for box in slabs(wrong.shape)])


def _counted(risk: np.ndarray, wrong: np.ndarray, edges: np.ndarray) -> Tally:
    said = np.clip(risk.reshape(-1).astype(np.float64), edges[0], edges[-1])
    bins = np.searchsorted(edges, said, side="left")
    weights = (None, wrong.reshape(-1), said)
    return Tally(*(np.bincount(bins, weights=values, minlength=edges.size).astype(np.float64) for values in weights))


def pooled(tallies: list[Tally]) -> Tally:
    """All voxels of several cases."""
    return Tally(*(np.sum(values, axis=0) for values in zip(*tallies, strict=True)))
