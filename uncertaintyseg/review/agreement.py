"""What the probability of a structure says of a label of it, in one walk over the boxes where either is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uncertaintyseg.review.anomaly import expected_mismatch
from uncertaintyseg.review.boxes import parts, slabs

POSSIBLE = 0.05
"""Chance of being wrong from which a voxel counts as expected error: what is below adds up over a whole scan."""


class Agreement(NamedTuple):
    """A label L of a structure Y under voxel probabilities p; numbers of voxels."""

    labelled: int
    """|L|."""
    expected: float
    """E|Y|, the sum of p."""
    overlap: float
    """E|Y and L|."""
    error: float
    """Expected number of voxels on the wrong side of the structure, of those that may be (`POSSIBLE`)."""
    excess: float
    """Expected error beyond that of the model's own best guess: sum of max(0, 2 q - 1).

    With q the probability to be on the wrong side, the best guess is wrong with min(q, 1 - q). Unlike the expected
    error it does not grow with what is hard to see, only with what the model would have labelled otherwise.
    """

    @property
    def anomaly(self) -> float | None:
        """E|Y XOR L| / |L|, see `anomaly.expected_anomaly`; None where nothing is labelled."""
        wrong = max(self.expected + self.labelled - 2 * self.overlap, 0.0)
        return wrong / self.labelled if self.labelled else None

    @property
    def dice(self) -> float | None:
        """2 E|Y and L| / (E|Y| + |L|); None where both are empty.

        A ratio of expectations, which differs from the expected ratio by O(1 / voxels) (METHODS 1.5).
        """
        total = self.expected + self.labelled
        if total < 0.5:  # not even half a voxel is expected: there is nothing to overlap with
            return None
        return 2 * self.overlap / total


class Counts(NamedTuple):
    """Of each class id `[ids]`, in one walk over a label."""

    voxels: np.ndarray
    right: np.ndarray
    """Those that a person found right."""
    risk: np.ndarray
    """Sum of the error probability."""


def counts(label: np.ndarray, error_probability: np.ndarray, right: np.ndarray | None, ids: int) -> Counts:
    """Voxels of each class id below `ids`, from `[*S]` each."""
    voxels, known, risk = np.zeros(ids, np.int64), np.zeros(ids, np.int64), np.zeros(ids)
    for slab in slabs(label.shape):
        flat = label[slab].reshape(-1).astype(np.intp)
        voxels += np.bincount(flat, minlength=ids)[:ids]
        risk += np.bincount(flat, weights=error_probability[slab].reshape(-1), minlength=ids)[:ids]
        if right is not None:
            known += np.bincount(flat[right[slab].reshape(-1)], minlength=ids)[:ids]
    return Counts(voxels, known, risk)


def agreement(
    label: np.ndarray, class_id: int, probability: np.ndarray, found: Counts, right: np.ndarray | None = None
) -> Agreement:
    """How a label of a structure agrees with its probability.

    Args:
        label: class ids `[*S]`.
        class_id: of the structure.
        probability: of the structure, `[*S]`; an array or a map of boxes.
        found: of the label.
        right: bool `[*S]`, where a person found the label right: there p is 1 inside of the structure and 0 outside.
    """
    inside_parts = known_parts = 0
    expected, overlap, error, excess = _total(probability), 0.0, 0.0, 0.0
    for box, p in parts(probability):
        inside = label[box] == class_id
        matters = inside | (p >= POSSIBLE)
        if right is not None and (known := right[box]).any():
            known_parts += int(np.count_nonzero(known & inside))
            decided = np.where(known, inside, p)
            expected += float((decided - p).sum(dtype=np.float64))
            p = decided  # noqa: PLW2901 - as a person has it
        inside, p = inside[matters], p[matters]  # noqa: PLW2901 - few are left of most parts
        wrong = expected_mismatch(inside, p)
        inside_parts += int(np.count_nonzero(inside))
        overlap += float(p[inside].sum(dtype=np.float64))
        error += float(wrong[wrong >= POSSIBLE].sum(dtype=np.float64))
        excess += float((2 * wrong[wrong > 0.5] - 1).sum(dtype=np.float64))
    labelled = int(found.voxels[class_id])
    known_beyond = int(found.right[class_id]) - known_parts if right is not None else 0
    impossible = labelled - inside_parts - known_beyond  # labelled where p is 0
    return Agreement(labelled, expected + known_beyond, overlap + known_beyond, error + impossible, excess + impossible)


def size_of(ids: Sequence[int]) -> int:
    """Length of an array with a place for every class id, background included."""
    return max(ids, default=0) + 1


def _total(probability: np.ndarray) -> float:
    """Sum of a map over all voxels; one made of boxes knows it also of what was too small to be kept."""
    known = getattr(probability, "total", None)
    return sum(float(p.sum(dtype=np.float64)) for _, p in parts(probability)) if known is None else known
