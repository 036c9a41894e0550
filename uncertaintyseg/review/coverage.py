"""How much of a case there is to review, and what stays wrong, as the threshold on its error probability moves."""

from __future__ import annotations

import numpy as np

from uncertaintyseg.metrics.arrays import check_shapes
from uncertaintyseg.review.calibration import Calibration
from uncertaintyseg.review.pieces import pieces_above
from uncertaintyseg.wire import RiskCoveragePoint

STEPS = 20
UNCALIBRATED = (0.01, *(round(step / STEPS, 2) for step in range(1, STEPS)), 1.0)
"""Thresholds where nothing is known of what stays wrong."""


def review_curve(
    error_probability: np.ndarray,
    voxel_ml: float,
    calibration: Calibration | None,
    *,
    also: float | None = None,
    valid: np.ndarray | None = None,
    clip: bool = False,
) -> list[RiskCoveragePoint]:
    """The risk-coverage curve at one case, from much review to none, in even steps of the expected error.

    Without a calibration the steps are even in the threshold, and the expected error and its interval are None.

    Coverage, volume and pieces (connected by faces) are this case's. The expected error is the mean loss of the
    calibration cases, wrong voxels left / reference voxels, with its 95 % percentile bootstrap interval over them
    (pointwise, and too narrow where next to no case has a loss: what can be relied on is `review.promise`).

    Args:
        error_probability: `[X, Y, Z]`, recalibrated where there is a calibration.
        voxel_ml: volume of a voxel.
        calibration: of the model, if it holds for this error probability.
        also: a threshold to include, such as a guarantee's.
        valid: bool `[X, Y, Z]`, where the model saw the scan; None is everywhere.
        clip: the third axis is time: pieces lie in a frame each.

    Raises:
        InputError: for arrays of different shapes.
    """
    check_shapes("'valid'", (error_probability if valid is None else valid).shape, error_probability.shape)
    thresholds, bands = (UNCALIBRATED, None) if calibration is None else _steps(calibration, also)
    voxels = error_probability.size if valid is None else max(int(np.count_nonzero(valid)), 1)
    points = []
    for index, (threshold, found) in enumerate(
        zip(thresholds, pieces_above(error_probability, thresholds, clip=clip), strict=True)
    ):
        left = {} if bands is None else dict(zip(("expected_error", "lo", "hi"), bands[index], strict=True))
        points.append(
            RiskCoveragePoint(
                threshold=threshold,
                coverage=round(1 - found.voxels / voxels, 6),
                reviewed_ml=round(found.voxels * voxel_ml, 4),
                regions=found.pieces,
                **left,
            )
        )
    return points


def _steps(calibration: Calibration, also: float | None) -> tuple[list[float], list[list[float]]]:
    """The highest thresholds that leave 1/20, 2/20, ... of the error without review; mean loss and interval at each."""
    mean = calibration.band[0]
    wanted = mean[-1] * np.arange(1, STEPS + 1) / STEPS
    chosen = np.maximum(np.searchsorted(mean, wanted, side="right") - 1, 0)
    extra = [len(mean) - 1] if also is None else [len(mean) - 1, int(np.searchsorted(calibration.thresholds, also))]
    steps = np.unique(np.concatenate([chosen, extra]))
    return np.array(calibration.thresholds)[steps].tolist(), calibration.band[:, steps].T.round(6).tolist()
