"""Where the most likely class is not wanted as the label: thresholds on the foreground (METHODS 5.2, 5.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from uncertaintyseg.errors import InputError

FOREGROUND = "foreground"
"""What is thresholded unless somebody says otherwise: 1 - p_0, the probability of all structures together."""
THRESHOLDS = ("otsu", "percentile", "mean_std", "fixed")
FALLBACK = 0.5
_DEFAULTS = {"otsu": 0.0, "percentile": 95.0, "mean_std": 1.0, "fixed": 0.5}
MOST = 100.0
"""Standard deviations that a threshold may be off the mean."""
_BINS = 256
_SMOOTHING = 9
"""Bins of the moving sum that modes are looked for in: 3.5 % of probability."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class Found(NamedTuple):
    """Where a threshold lies.

    Attributes:
        value: voxels above it are in.
        fallback: whether it is only the middle of the range, for Otsu's method saw no two groups.
    """

    value: float
    fallback: bool = False


@dataclass(frozen=True)
class Threshold:
    """How a threshold is found, and on what.

    Attributes:
        method: "otsu", "percentile", "mean_std" or "fixed", as of `threshold`.
        value: of it; None: the default.
        of: "foreground"; the name of a structure, whose probability then decides where it is; or that of an uncertainty
            map, which leaves the label as it is.

    Raises:
        InputError: for another method or a value it cannot take.
    """

    method: str = "otsu"
    value: float | None = None
    of: str = FOREGROUND

    def __post_init__(self) -> None:
        _check(self.method, self.value, 1.0 if self.of == FOREGROUND else np.inf)

    @classmethod
    def read(cls, text: str) -> Threshold:
        """Read `[OF:]METHOD[=VALUE]` or `[OF:]NUMBER`: `otsu`, `percentile=95`, `0.4`, `liver:0.3`, `variance:otsu`.

        Raises:
            InputError: where it is neither.
        """
        of, _, how = text.rpartition(":")
        method, equals, value = ("fixed", "=", how) if _NUMBER.fullmatch(how.strip()) else how.partition("=")
        try:
            number = float(value) if equals else None
        except ValueError as error:
            raise InputError(
                f"the threshold '{text}' has no number after '='; write percentile=95, mean_std=2, otsu or 0.4, and "
                "before it with a colon what it is of, such as liver:0.4."
            ) from error
        return cls(method.strip(), number, of.strip() or FOREGROUND)

    def __str__(self) -> str:
        value = "" if self.value in (None, _DEFAULTS[self.method]) else f"={float(self.value)!r}"
        return f"{'' if self.of == FOREGROUND else f'{self.of}:'}{self.method}{value}"

    @property
    def setting(self) -> float | None:
        """The value that counts; None for Otsu's method, which has none."""
        return None if self.method == "otsu" else _DEFAULTS[self.method] if self.value is None else float(self.value)

    def find(self, values: np.ndarray, top: float = 1.0) -> Found:
        """The threshold of values in [0, top], of any shape.

        Raises:
            InputError: for values that are NaN or out of range, or a fixed threshold beyond it.
        """
        _check(self.method, self.value, top)
        flat = _checked(values, top)
        if self.method == "otsu":
            found = _otsu(flat / top)
            return Found(FALLBACK * top, True) if found is None else Found(found * top)
        if self.method == "fixed":
            return Found(self.setting)
        if flat.size == 0:
            return Found(FALLBACK * top, True)
        cut = np.percentile(flat, self.setting) if self.method == "percentile" else None
        cut = flat.mean() + self.setting * flat.std() if cut is None else cut
        return Found(float(np.clip(cut, 0, top)))


def threshold(foreground: np.ndarray, method: str = "otsu", value: float | None = None) -> float:
    """A threshold on foreground probabilities, in [0, 1]; voxels above it get their most likely structure.

    Args:
        foreground: 1 - p_0, of any shape.
        method: "otsu"; "percentile", that of the values; "mean_std", mean + some standard deviations; or "fixed".
        value: the percentile (95), the number of standard deviations (1) or the fixed threshold (0.5); not for Otsu.

    Raises:
        InputError: for another method, a value it cannot take, or values that are NaN or outside [0, 1].
    """
    return Threshold(method, value).find(foreground).value


def _check(method: str, value: float | None, top: float) -> None:
    if method not in THRESHOLDS:
        raise InputError(f"the threshold '{method}' does not exist; choose {', '.join(THRESHOLDS)}.")
    if value is not None and method == "otsu":
        raise InputError("Otsu's threshold takes no value; choose 'fixed' to give one.")
    value = _DEFAULTS[method] if value is None else value
    low, high = {"percentile": (0.0, 100.0), "mean_std": (-MOST, MOST), "fixed": (0.0, top)}.get(method, (0.0, 0.0))
    if not (np.isfinite(value) and low <= value <= high):
        limits = f"from {low:g} to {high:g}" if np.isfinite(high) else f"from {low:g} up"
        raise InputError(f"the threshold '{method}' takes a value {limits}; {value} is none.")


def _checked(values: np.ndarray, top: float) -> np.ndarray:
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not ((flat >= -1e-4 * top) & (flat <= top * (1 + 1e-4))).all():  # also where they are NaN
        what = "probabilities" if top == 1 else "values"
        raise InputError(f"the {what} are NaN or outside 0 to {top:g}; give class probabilities, not logits.")
    return flat


def _otsu(values: np.ndarray) -> float | None:
    """The threshold between 256 equal bins of [0, 1] that maximises w0 w1 (mean0 - mean1)^2.

    Between two groups with nothing in between it is the middle of the gap. None where there are no two groups: without
    foreground, Otsu's method splits the noise.
    """
    counts, edges = np.histogram(values.clip(0, 1), bins=_BINS, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = counts.cumsum()[:-1].astype(np.float64), (counts * centres).cumsum()
    above = counts.sum() - below
    parted = (below > 0) & (above > 0)
    if not parted.any():
        return None
    between = np.zeros(_BINS - 1)
    means = mass[:-1][parted] / below[parted], (mass[-1] - mass[:-1][parted]) / above[parted]
    between[parted] = below[parted] * above[parted] * np.square(means[0] - means[1])
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean()) if _bimodal(counts, best) else None


def _bimodal(counts: np.ndarray, cuts: np.ndarray) -> bool:
    """Whether there is a peak on each side of the cuts, and a valley between them at most half as high as the lower.

    A peak also has to stand out from its valley by three standard errors of its count.
    """
    smooth = np.convolve(counts, np.ones(_SMOOTHING), mode="same")
    cut = int(cuts[len(cuts) // 2]) + 1
    left, right = int(smooth[:cut].argmax()), cut + int(smooth[cut:].argmax())
    lower, valley = min(smooth[left], smooth[right]), smooth[left : right + 1].min()
    return bool(valley <= lower / 2 and lower - valley > 3 * np.sqrt(lower))
