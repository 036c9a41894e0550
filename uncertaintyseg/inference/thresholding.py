"""Where the most likely class is not wanted as the label: thresholds on the foreground (METHODS 5.2, 5.3)."""

from __future__ import annotations

import numpy as np

from uncertaintyseg.errors import InputError

THRESHOLDS = ("otsu", "percentile", "mean_std", "fixed")
FALLBACK = 0.5
_DEFAULTS = {"otsu": 0.0, "percentile": 95.0, "mean_std": 1.0, "fixed": 0.5}
_BINS = 256
_SMOOTHING = 9
"""Bins of the moving sum that modes are looked for in: 3.5 % of probability."""


def threshold(foreground: np.ndarray, method: str = "otsu", value: float | None = None) -> float:
    """A threshold on foreground probabilities, in [0, 1]; voxels above it get their most likely structure.

    Args:
        foreground: 1 - p_0, of any shape.
        method: "otsu"; "percentile", that of the values; "mean_std", mean + some standard deviations; or "fixed".
        value: the percentile (95), the number of standard deviations (1) or the fixed threshold (0.5); not for Otsu.

    Raises:
        InputError: for another method, a value it cannot take, or values that are NaN or outside [0, 1].
    """
    if method not in THRESHOLDS:
        raise InputError(f"the threshold '{method}' does not exist; choose {', '.join(THRESHOLDS)}.")
    if value is not None and method == "otsu":
        raise InputError("Otsu's threshold takes no value; choose 'fixed' to give one.")
    value = _DEFAULTS[method] if value is None else value
    top = {"percentile": 100.0, "fixed": 1.0}.get(method, np.inf)
    if not (np.isfinite(value) and (0 <= value <= top or method == "mean_std")):
        raise InputError(f"the threshold '{method}' takes a value from 0 to {top:g}; {value} is none.")
    values = np.asarray(foreground, dtype=np.float64).ravel()
    if not ((values >= -1e-4) & (values <= 1 + 1e-4)).all():  # also where they are NaN
        raise InputError("the probabilities are NaN or outside 0 to 1; give class probabilities, not logits.")
    if method == "fixed":
        return float(value)
    if method == "otsu":
        return _otsu(values)
    if values.size == 0:
        return FALLBACK
    cut = np.percentile(values, value) if method == "percentile" else values.mean() + value * values.std()
    return float(np.clip(cut, 0, 1))


def _otsu(values: np.ndarray) -> float:
    """The threshold between 256 equal bins of [0, 1] that maximises w0 w1 (mean0 - mean1)^2.

    Between two groups with nothing in between it is the middle of the gap. `FALLBACK` where there are no two groups:
    without foreground, Otsu's method splits the noise.
    """
    counts, edges = np.histogram(values.clip(0, 1), bins=_BINS, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = counts.cumsum()[:-1].astype(np.float64), (counts * centres).cumsum()
    above = counts.sum() - below
    parted = (below > 0) & (above > 0)
    if not parted.any():
        return FALLBACK
    between = np.zeros(_BINS - 1)
    means = mass[:-1][parted] / below[parted], (mass[-1] - mass[:-1][parted]) / above[parted]
    between[parted] = below[parted] * above[parted] * np.square(means[0] - means[1])
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean()) if _bimodal(counts, best) else FALLBACK


def _bimodal(counts: np.ndarray, cuts: np.ndarray) -> bool:
    """Whether there is a peak on each side of the cuts, and a valley between them at most half as high as the lower.

    A peak also has to stand out from its valley by three standard errors of its count.
    """
    smooth = np.convolve(counts, np.ones(_SMOOTHING), mode="same")
    cut = int(cuts[len(cuts) // 2]) + 1
    left, right = int(smooth[:cut].argmax()), cut + int(smooth[cut:].argmax())
    lower, valley = min(smooth[left], smooth[right]), smooth[left : right + 1].min()
    return bool(valley <= lower / 2 and lower - valley > 3 * np.sqrt(lower))
