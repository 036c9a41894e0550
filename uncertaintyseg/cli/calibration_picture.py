"""The risk-coverage curve of a calibration."""

from __future__ import annotations

import io
from pathlib import Path

from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.review.calibration import MEASURE, Calibration
from uncertaintyseg.review.promise import OutOfReachError, guarantee


def calibration_picture(calibration: Calibration, model: str, path: Path) -> None:
    """Draw what stays wrong against what is reviewed, and how often the error probability came true.

    Args:
        calibration: of the model.
        model: its name.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    figure.suptitle(f"{model}, {calibration.n} cases of {calibration.data}")
    coverage, reliability = figure.subplots(1, 2)

    mean, low, high = 100 * calibration.band
    reviewed = 100 * calibration.mean_reviewed
    coverage.fill_between(reviewed, low, high, color="#56B4E9", alpha=0.4, label="95 % interval over cases")
    coverage.plot(reviewed, mean, color="#0072B2", label="mean of the cases")
    try:
        promise = guarantee(calibration)
        at = calibration.thresholds.index(promise.threshold)
        coverage.plot(reviewed[at], 100 * promise.alpha, "v", color="#D55E00", label=f"promised: {promise.alpha:.0%}")
    except OutOfReachError:
        pass
    shown = mean > 0.01 * mean[-1]
    coverage.set(
        xlabel="reviewed, % of the scan",
        ylabel="left wrong, % of the true volume",
        title="Risk and coverage",
        xlim=(0, 1.05 * reviewed[shown].max(initial=1)),
        ylim=(0, None),
    )
    coverage.legend()

    own, limits = calibration.measure == MEASURE, (0.0, 1.0)
    if own:
        reliability.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    if calibration.recalibration:
        points, limits = calibration.recalibration, calibration.recalibration.limits
        reliability.plot(points.said, points.found, "o-", markersize=3, color="#0072B2")
        before, after = points.ece_before, points.ece_after
        reliability.set_title(f"Held-out ECE {before:.4f}, {'recalibrated' if own else 'by this map'} {after:.4f}")
    said = "error probability of the model" if own else f"map '{calibration.measure}'"
    reliability.set(xlabel=said, ylabel="share that is wrong", xlim=limits, ylim=(0, 1))

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())
