"""How far a structure is from a reference, or from what the model itself expects (METHODS 6, A51).

The thesis' anomaly score is 1 - agreement with a reference, not a detector: it needs the truth, and can exceed 1. The
expected score needs only the model's probabilities.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from uncertaintyseg.errors import InputError

Mode = Literal["xor_over_ref", "symmetric"]


def mismatch(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The heat map of `anomaly_score`: predicted XOR reference, masks `[*S]`.

    Raises:
        InputError: for masks of different shapes.
    """
    if predicted.shape != reference.shape:
        raise InputError(f"prediction {predicted.shape} and reference {reference.shape} are not on one grid.")
    return predicted.astype(bool) ^ reference.astype(bool)


def anomaly_score(predicted: np.ndarray, reference: np.ndarray, mode: Mode = "xor_over_ref") -> float:
    """|predicted XOR reference| relative to a size; 0 for equal masks, 2 for disjoint ones of one size.

    Args:
        predicted: mask `[*S]`.
        reference: mask `[*S]`.
        mode: "xor_over_ref": relative to |reference|, as the thesis has it; it has no upper limit, and is NaN for an
            empty reference. "symmetric": relative to the mean of both sizes, which is 2 (1 - Dice), at most 2, and NaN
            where both are empty.

    Raises:
        InputError: for masks of different shapes.
    """
    wrong = np.count_nonzero(mismatch(predicted, reference))
    return _relative(wrong, np.count_nonzero(predicted), np.count_nonzero(reference), mode)


def expected_mismatch(predicted: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The heat map of `expected_anomaly`: the probability that a voxel is on the wrong side of the structure.

    1 - p where the structure was predicted, p elsewhere. With one structure and the background this is the error
    probability 1 - p[label]; with more, a voxel that may be another structure instead is counted for both.

    Args:
        predicted: mask `[*S]`.
        probability: of the structure, `[*S]`.

    Raises:
        InputError: for arrays of different shapes.
    """
    if predicted.shape != probability.shape:
        raise InputError(f"prediction {predicted.shape} and probability {probability.shape} are not on one grid.")
    return np.where(predicted, 1 - probability, probability)


def expected_anomaly(predicted: np.ndarray, probability: np.ndarray, mode: Mode = "xor_over_ref") -> float:
    """`anomaly_score` without a reference: E|Y XOR predicted| under the model's own probabilities, relative to a size.

    E|Y XOR predicted| is the sum of `expected_mismatch` over all voxels of the scan, independent or not.

    Args:
        predicted: mask `[*S]`.
        probability: of the structure, `[*S]`.
        mode: "xor_over_ref": relative to |predicted|, which stands in for the reference; NaN where nothing was
            predicted. "symmetric": relative to the mean of |predicted| and the expected size; NaN where both are 0.

    Raises:
        InputError: for arrays of different shapes.
    """
    wrong = float(expected_mismatch(predicted, probability).sum(dtype=np.float64))
    size = np.count_nonzero(predicted)
    return _relative(wrong, float(probability.sum(dtype=np.float64)), size, mode)


def _relative(wrong: float, other: float, size: float, mode: Mode) -> float:
    scale = {"xor_over_ref": size, "symmetric": (size + other) / 2}
    if mode not in scale:
        raise InputError(f"there is no anomaly score '{mode}'; there are {', '.join(scale)}.")
    return wrong / scale[mode] if scale[mode] else float("nan")
