"""The server's risk-coverage curve of a case: coverage and expected error at any threshold, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.results import RiskCoveragePoint

SLACK = 1e-9


@dataclass(frozen=True)
class WorkingPoint:
    """What a threshold on the error probability means for this case.

    Attributes:
        threshold: Voxels above it are to be reviewed.
        coverage: Share of the voxels that are not, 0 to 1.
        expected_error: Wrong voxels left over true voxels after the review; None where nothing is calibrated.
        interval: Its 95 % interval, or None.
        reviewed_ml, regions: How much there is to review, as counted at `counted_at`.
        counted_at: The nearest threshold of the server's table at or below `threshold`.
    """

    threshold: float
    coverage: float
    expected_error: float | None
    interval: tuple[float, float] | None
    reviewed_ml: float
    regions: int
    counted_at: float


class Curve:
    """The server's risk-coverage curve of one case, straight between its points.

    Coverage and expected error never fall as the threshold rises. Nothing is made up beyond the ends.

    Args:
        points: From the server, in any order, at least one.

    Raises:
        ServerError: The points are no such curve.

    Attributes:
        thresholds, coverages: `[N]`, rising.
        errors, lows, highs: `[N]`, or None where any expected error is unknown.
    """

    def __init__(self, points: Sequence[RiskCoveragePoint]) -> None:
        wrong = ServerError(_("The server's risk-coverage curve is wrong: are server and module of one version?"))
        self.errors = self.lows = self.highs = None
        try:
            rows = sorted({point.threshold: point for point in points}.values(), key=lambda point: point.threshold)
            self.thresholds = np.array([row.threshold for row in rows], float)
            self.coverages = np.array([row.coverage for row in rows], float)
            if rows and all(None not in (row.expected_error, row.lo, row.hi) for row in rows):
                columns = np.array([[row.expected_error, row.lo, row.hi] for row in rows], float)
                self.errors, self.lows, self.highs = columns.T
        except (TypeError, ValueError) as error:
            raise wrong from error
        columns = [values for values in (self.thresholds, self.coverages, self.errors) if values is not None]
        if not rows or not all(np.isfinite(values).all() and (np.diff(values) >= 0).all() for values in columns):
            raise wrong
        self._rows = rows

    def at(self, threshold: float) -> WorkingPoint:
        """Return what a threshold means; one beyond the ends stands for the end."""
        threshold = float(np.clip(threshold, self.thresholds[0], self.thresholds[-1]))
        row = self._rows[int(np.searchsorted(self.thresholds, threshold + SLACK, side="right")) - 1]
        error, low, high = (self._read(column, threshold) for column in (self.errors, self.lows, self.highs))
        return WorkingPoint(
            threshold=threshold,
            coverage=self._read(self.coverages, threshold),
            expected_error=error,
            interval=None if error is None else (low, high),
            reviewed_ml=row.reviewed_ml,
            regions=row.regions,
            counted_at=row.threshold,
        )

    def threshold_for_coverage(self, coverage: float) -> float:
        """Return the lowest threshold with that coverage: of all with the same voxels, the one that expects least."""
        return -_last_at_most(-coverage, -self.coverages[::-1], -self.thresholds[::-1])

    def threshold_for_error(self, error: float) -> float:
        """Return the highest threshold whose expected error is at most `error`: the least work for it.

        Raises:
            ValueError: No error is known.
        """
        if self.errors is None:
            raise ValueError("This curve has no expected errors.")
        return _last_at_most(error, self.errors, self.thresholds)

    def _read(self, column: np.ndarray | None, threshold: float) -> float | None:
        return None if column is None else float(np.interp(threshold, self.thresholds, column))


def _last_at_most(value: float, ys: np.ndarray, xs: np.ndarray) -> float:
    """Return the highest x whose y is at most `value` on the rising line through the points, within its ends."""
    last = int(np.searchsorted(ys, value, side="right")) - 1
    if last < 0 or last == len(xs) - 1:
        return float(xs[max(last, 0)])
    share = (value - ys[last]) / (ys[last + 1] - ys[last])
    return float(xs[last] + share * (xs[last + 1] - xs[last]))
