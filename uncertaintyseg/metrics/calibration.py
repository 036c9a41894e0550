"""Whether probabilities mean what they say; streaming over cases, memory independent of their number."""

from __future__ import annotations

import numpy as np

BINS = 15
_TINY = 1e-12


def negative_log_likelihood(probability: np.ndarray, reference: np.ndarray) -> float:
    """Mean over voxels of -ln p of the true class (nats).

    Args:
        probability: E[p] `[C, *S]`.
        reference: class ids `[*S]`.
    """
    own = np.take_along_axis(probability, reference[None].astype(np.intp), axis=0)[0]
    return float(-np.log(np.maximum(own, _TINY)).mean(dtype=np.float64))


class CalibrationError:
    """Expected calibration error of the top label: equal-width bins of confidence, all voxels of all cases pooled.

    ECE = sum over bins of (voxels in bin / voxels) |accuracy - mean confidence| (METHODS 8).
    """

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self._count, self._correct, self._confidence = np.zeros((3, bins))

    def update(self, probability: np.ndarray, reference: np.ndarray) -> None:
        """Add a case: E[p] `[C, *S]`, class ids `[*S]`."""
        confidence = probability.max(0).ravel().astype(np.float64)
        correct = (probability.argmax(0) == reference).ravel()
        # Right-closed bins (0, 1/n], (1/n, 2/n], ...
        index = np.clip(np.ceil(confidence * self.bins).astype(int) - 1, 0, self.bins - 1)
        self._count += np.bincount(index, minlength=self.bins)
        self._correct += np.bincount(index, weights=correct, minlength=self.bins)
        self._confidence += np.bincount(index, weights=confidence, minlength=self.bins)

    def compute(self) -> float:
        """The error over all cases so far; NaN without any."""
        total = self._count.sum()
        return float(np.abs(self._correct - self._confidence).sum() / total) if total else float("nan")
