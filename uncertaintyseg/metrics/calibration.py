"""Whether probabilities mean what they say; streaming over cases, memory independent of their number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import blocks, check_finite, check_shapes

BINS = 15
_TINY = 1e-12
_FINE = 1024  # fine bins a bin


def negative_log_likelihood(probability: np.ndarray, reference: np.ndarray) -> float:
    """Mean over voxels of -ln p of the true class (nats).

    Args:
        probability: E[p] `[C, *S]`.
        reference: class ids `[*S]`.

    Raises:
        InputError: when the two do not fit, or a probability is not finite.
    """
    total = sum(-np.log(np.maximum(own, _TINY)).sum() for _, own, _ in _voxels(probability, reference))
    return float(total / reference.size)


def brier_score(probability: np.ndarray, reference: np.ndarray) -> float:
    """Mean over voxels of the sum over classes of (p_c - [class is c])^2, from 0 to 2 (Brier 1950).

    Args and Raises: as `negative_log_likelihood`.
    """
    total = sum(((p * p).sum(0) - 2 * own + 1).sum() for p, own, _ in _voxels(probability, reference))
    return float(total / reference.size)


def certainty(entropy: np.ndarray, foreground: np.ndarray, classes: int) -> float:
    """Mean over the reference foreground of clip(1 - u / ln C, 0, 1), u an entropy in nats (METHODS 5.1, 5.2).

    Args:
        entropy: `[*S]`.
        foreground: bool `[*S]`, of the reference; NaN comes back where it is empty.
        classes: C, background included.

    Raises:
        InputError: with fewer than two classes, another shape, or an entropy that is not finite.
    """
    if classes < 2:
        raise InputError(f"certainty needs two classes at least, background included, not {classes}.")
    check_shapes("the entropy", entropy.shape, foreground.shape)
    inside = entropy[foreground]
    check_finite("the entropy", inside)
    return float(np.clip(1 - inside.astype(np.float64) / math.log(classes), 0, 1).mean()) if inside.size else math.nan


class Reliability:
    """How often what was said with a confidence comes true, all voxels of all cases pooled.

    Bins are right-closed and equally wide: (0, 1/n], (1/n, 2/n], ...
    """

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self._count, self._hits, self._confidence = np.zeros((3, bins * _FINE))

    def update(self, confidence: np.ndarray, hit: np.ndarray) -> None:
        """Add voxels: what was said, in [0, 1], and whether it came true; flat arrays."""
        size = self._count.size
        index = np.clip(np.ceil(confidence * size).astype(np.intp) - 1, 0, size - 1)
        self._count += np.bincount(index, minlength=size)
        self._hits += np.bincount(index, weights=hit, minlength=size)
        self._confidence += np.bincount(index, weights=confidence, minlength=size)

    def said(self) -> dict[str, np.ndarray]:
        """All that was added, for `add`: `index` `[n]` of the fine bins that hold a voxel, and `sums` `[3, n]`."""
        index = np.flatnonzero(self._count)
        return {"index": index, "sums": np.stack([self._count, self._hits, self._confidence])[:, index]}

    def add(self, said: Mapping[str, np.ndarray]) -> None:
        """Add what another of as many bins was told."""
        for sums, more in zip((self._count, self._hits, self._confidence), said["sums"], strict=True):
            sums[said["index"]] += more

    def sums(self) -> dict[str, list[float]]:
        """Of each bin: the voxels, how many were right, and the sum of their confidence; cases add up."""
        return {
            name: values.tolist()
            for name, values in zip(("voxels", "right", "confidence"), self._binned(), strict=True)
        }

    def expected_error(self) -> float:
        """ECE: sum over bins of (share of the voxels) |frequency - mean confidence|; NaN without voxels (METHODS 8)."""
        count, hits, confidence = self._binned()
        return float(np.abs(hits - confidence).sum() / count.sum()) if count.any() else math.nan

    def maximum_error(self) -> float:
        """MCE: the largest |frequency - mean confidence| of a bin that holds a voxel, however few."""
        count, hits, confidence = self._binned()
        kept = count > 0
        return float((np.abs(hits - confidence)[kept] / count[kept]).max()) if count.any() else math.nan

    def adaptive_error(self) -> float:
        """ACE: mean |frequency - mean confidence| of bins that hold equally many voxels (Nguyen and O'Connor 2015).

        The bins are cut from equally wide fine bins, 1024 a bin; one that is cut is shared out evenly, as ties have to
        be. Against a sort of all voxels it is off by at most twice the mean |outcome - confidence| in the fine bins
        that are cut times their share of the voxels.
        """
        kept = self._count > 0
        if not kept.any():
            return math.nan
        reached = np.cumsum(self._count[kept], dtype=np.float64)
        excess = np.cumsum((self._hits - self._confidence)[kept])
        cuts = np.linspace(0, reached[-1], self.bins + 1)
        gaps = np.diff(np.interp(cuts, np.r_[0, reached], np.r_[0, excess]))
        return float(np.abs(gaps).sum() / reached[-1])

    def curve(self) -> dict[str, list[float]]:
        """The reliability diagram, a value a bin: mean `confidence`, `frequency` (NaN if empty), `share` of voxels."""
        count, hits, confidence = self._binned()
        with np.errstate(invalid="ignore"):
            columns = {"confidence": confidence / count, "frequency": hits / count, "share": count / count.sum()}
        return {name: values.tolist() for name, values in columns.items()}

    def _binned(self) -> Iterator[np.ndarray]:
        return (sums.reshape(self.bins, _FINE).sum(1) for sums in (self._count, self._hits, self._confidence))


class Calibration:
    """Reliability of the most likely class and, as an event of its own, of each structure.

    The event of a structure is that a voxel belongs to it, with its probability; the top label has the largest one.
    Outcomes are what is true, so a background with p = 0.001 and no structure is right in both (METHODS 5.2, A43).
    """

    def __init__(self, structures: Sequence[str], bins: int = BINS) -> None:
        self.top_label = Reliability(bins)
        self.events = {name: Reliability(bins) for name in structures}

    def said(self) -> dict[str, dict[str, np.ndarray]]:
        """All that was added, for `add`: of the top label under "", of the structures under their names."""
        return {"": self.top_label.said(), **{name: event.said() for name, event in self.events.items()}}

    def add(self, said: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Add what another of the same structures was told."""
        for name, event in {"": self.top_label, **self.events}.items():
            event.add(said[name])

    def update(self, probability: np.ndarray, reference: np.ndarray) -> None:
        """Add a case: E[p] `[C, *S]` with the background first, class ids `[*S]`.

        Raises:
            InputError: when the two do not fit, C is not one more than the structures, or a probability is not finite.
        """
        if len(probability) != len(self.events) + 1:
            raise InputError(
                f"probabilities have {len(probability)} classes, wanted {len(self.events) + 1}: the background and "
                "one a structure."
            )
        for p, _, wanted in _voxels(probability, reference):
            self.top_label.update(p.max(0), p.argmax(0) == wanted)
            for index, event in enumerate(self.events.values(), start=1):
                event.update(p[index], wanted == index)


def _voxels(probability: np.ndarray, reference: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Float64 probabilities `[C, n]`, those of the true class `[n]` and the true class `[n]`, a block at a time."""
    check_shapes("the probability of a class", probability.shape[1:], reference.shape)
    flat, wanted = probability.reshape(len(probability), -1), reference.reshape(-1)
    if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(probability):
        raise InputError(
            f"class ids {wanted.min()} to {wanted.max()} in the reference, but probabilities of {len(probability)} "
            "classes: check the ids."
        )
    for part in blocks(wanted.size):
        p, ids = flat[:, part].astype(np.float64), wanted[part].astype(np.intp)
        check_finite("a probability", p)
        yield p, np.take_along_axis(p, ids[None], axis=0)[0], ids
