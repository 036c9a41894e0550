"""How much of a case there is to review, and what stays wrong, as the threshold on its error probability moves."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from uncertaintyseg.review.calibration import Calibration
from uncertaintyseg.wire import RiskCoveragePoint

STEPS = 20


def review_curve(
    error_probability: np.ndarray,
    voxel_ml: float,
    calibration: Calibration,
    *,
    also: float | None = None,
    valid: np.ndarray | None = None,
) -> list[RiskCoveragePoint]:
    """The risk-coverage curve at one case, from much review to none, in even steps of the expected error.

    Coverage, volume and pieces (connected by faces) are this case's. The expected error is the mean loss of the
    calibration cases, wrong voxels left / reference voxels, with its 95 % percentile bootstrap interval over them
    (pointwise, and too narrow where next to no case has a loss: what can be relied on is `review.promise`).

    Args:
        error_probability: recalibrated, `[X, Y, Z]`.
        voxel_ml: volume of a voxel.
        calibration: of the model.
        also: a threshold to include, such as a guarantee's.
        valid: bool `[X, Y, Z]`, where the model saw the scan; None is everywhere.
    """
    chosen = _steps(calibration, also)
    thresholds = np.array(calibration.thresholds)[chosen]
    voxels = error_probability.size if valid is None else max(int(np.count_nonzero(valid)), 1)
    doubted = _cropped(error_probability, float(thresholds[0]))
    points = []
    for threshold, (mean, low, high) in zip(thresholds.tolist(), calibration.band[:, chosen].T.tolist(), strict=True):
        above = doubted > threshold
        count = np.count_nonzero(above)
        points.append(
            RiskCoveragePoint(
                threshold=threshold,
                coverage=round(1 - count / voxels, 6),
                reviewed_ml=round(count * voxel_ml, 4),
                regions=ndimage.label(above)[1],
                expected_error=round(mean, 6),
                lo=round(low, 6),
                hi=round(high, 6),
            )
        )
    return points


def _cropped(error_probability: np.ndarray, threshold: float) -> np.ndarray:
    """The box that holds everything above a threshold."""
    box = ndimage.find_objects((error_probability > threshold).astype(np.uint8))
    return error_probability[box[0]] if box else error_probability[:0]


def _steps(calibration: Calibration, also: float | None) -> np.ndarray:
    """Indices of thresholds: the highest ones that leave 1/20, 2/20, ... of the error without review."""
    mean = calibration.band[0]
    wanted = mean[-1] * np.arange(1, STEPS + 1) / STEPS
    chosen = np.maximum(np.searchsorted(mean, wanted, side="right") - 1, 0)
    extra = [len(mean) - 1] if also is None else [len(mean) - 1, int(np.searchsorted(calibration.thresholds, also))]
    return np.unique(np.concatenate([chosen, extra]))
