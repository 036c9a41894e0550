"""How much of a case to review: where a result stands on its curve, and what is promised there."""

from __future__ import annotations

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.curve import SLACK, Curve, WorkingPoint
from UncertaintySegLib.scene.curve_plot import Chart
from UncertaintySegLib.scene.overlay import title
from UncertaintySegLib.server.results import Guarantee, InferResult, Promise
from UncertaintySegLib.server.sizes import ML

_PREFIX = "uncalibrated: "


class Selection:
    """Where on its curve a result stands.

    Attributes:
        curve: Of the result shown; None without one.
        point: The working point; None without a curve.
        guarantee: What the server promises; None where it promises nothing.
        driven_by: Map that voxels are ranked by; empty: the model's own error probability.
        reason: Why there is no curve or no promise; empty where there is one.
        unit: What sizes are counted in, see `logic.sizes`.
    """

    def __init__(self) -> None:
        self.curve: Curve | None = None
        self.point: WorkingPoint | None = None
        self.guarantee: Guarantee | None = None
        self.reason = ""
        self.driven_by = ""
        self.unit = ML

    @property
    def calibrated(self) -> bool:
        """Whether expected errors and the promise may be shown."""
        return self.curve is not None and self.curve.errors is not None and self.guarantee is not None

    @property
    def can_ask(self) -> bool:
        """Whether calibration cases stand behind the curve, so that another bound can be asked for."""
        return self.curve is not None and self.curve.errors is not None

    @property
    def is_promised(self) -> bool:
        """Whether the promise holds at the working point: reviewing more than promised keeps it."""
        return self.calibrated and self.point.threshold <= self.guarantee.threshold + SLACK

    def take(self, result: InferResult | None, promise: Promise | None = None) -> None:
        """Stand on the curve of a result: where one stood, else at the promise, else in the middle.

        Who stood at a promise goes to the one that takes its place.

        Args:
            result: That is shown.
            promise: To take in place of the result's own, if it is one of this result.

        Raises:
            ServerError: The curve is none; there is then no curve.
        """
        before = self.point
        at_promise = self.calibrated and abs(before.threshold - self.guarantee.threshold) < SLACK
        self.curve = self.point = self.guarantee = None
        self.reason = self.driven_by = ""
        if result is None:
            return
        self.driven_by, self.unit = result.driven_by, result.size_unit
        said = promise if promise is not None and promise.result == result.key else result
        self.guarantee = said.guarantee
        self.reason = _without_prefix(said.guarantee_reason or "")
        if not result.risk_coverage:
            self.reason = self.reason or _("The server sent no risk-coverage curve.")
            return
        self.curve = Curve(result.risk_coverage)
        if not (self.calibrated or self.reason):
            self.reason = _("The server does not say why.")
        if self.calibrated and (before is None or at_promise):
            self.move_to_guarantee()
        elif before is not None:
            self.move_to_threshold(before.threshold)
        else:
            self.move_to_threshold(self.curve.thresholds[len(self.curve.thresholds) // 2])

    def move_to_threshold(self, threshold: float) -> None:
        """Review what has an error probability above `threshold`."""
        if self.curve is not None:
            self.point = self.curve.at(threshold)

    def move_to_coverage(self, coverage: float) -> None:
        """Review all but this share of the voxels."""
        if self.curve is not None:
            self.point = self.curve.at(self.curve.threshold_for_coverage(coverage))

    def move_to_error(self, error: float) -> None:
        """Review as little as leaves this expected error; does nothing where it is unknown."""
        if self.calibrated:
            self.point = self.curve.at(self.curve.threshold_for_error(error))

    def move_to_guarantee(self) -> None:
        """Review as little as the promise asks for."""
        if self.calibrated:
            self.move_to_threshold(self.guarantee.threshold)


def _without_prefix(reason: str) -> str:
    """Return a server's reason as a sentence of its own: the heading above it says already what it is the reason of."""
    reason = reason.removeprefix(_PREFIX)
    return reason[:1].upper() + reason[1:]


def sentence(selection: Selection) -> str:
    """Return what the working point asks of the reviewer and what it gives, or an empty text."""
    point = selection.point
    if point is None:
        return ""
    # A person thinks in what is left to do; the tiniest rest must not read as nothing.
    review = _("Review {share:.3g} % of the voxels ({size:.2f} {unit}, {regions} regions)").format(
        share=100 * (1 - point.coverage),
        size=point.reviewed_ml,
        unit=sizes.shown(selection.unit),
        regions=point.regions,
    )
    if not selection.calibrated:
        return _("{review}.").format(review=review)
    low, high = point.interval
    expected = _("{review}: expected remaining error {error:.2g} % of the true {size} [{low:.2g}, {high:.2g}].")
    percent = {"error": 100 * point.expected_error, "low": 100 * low, "high": 100 * high}
    return expected.format(review=review, size=sizes.kind(selection.unit), **percent)


def promise(selection: Selection) -> str:
    """Return what is guaranteed at the working point, or why nothing is."""
    if not selection.calibrated:
        return _("Uncalibrated: {reason}").format(reason=selection.reason) if selection.reason else ""
    if selection.is_promised:
        return _("Guarantee: {text}").format(text=selection.guarantee.text)
    return _("Not guaranteed here. Guaranteed at a threshold of {threshold:.3g}: {text}").format(
        threshold=selection.guarantee.threshold, text=selection.guarantee.text
    )


def footnote(selection: Selection) -> str:
    """Return which map ranks the voxels, and where they were counted when that is not at the working point itself."""
    point, said = selection.point, [ranked_by(selection)]
    if point is not None and abs(point.threshold - point.counted_at) >= SLACK:
        text = _("{size} and regions are those at threshold {threshold:.3g}.")
        said.append(text.format(size=sizes.kind(selection.unit).capitalize(), threshold=point.counted_at))
    return " ".join(filter(None, said))


def ranked_by(selection: Selection) -> str:
    """Return which map ranks the voxels; empty where it is the model's own error probability."""
    if not selection.driven_by:
        return ""
    return _("Voxels are ranked by: {map}.").format(map=title(selection.driven_by).lower())


def chart(selection: Selection) -> Chart | None:
    """Return what to plot: the expected error over the coverage; None where nothing is calibrated."""
    curve, point = selection.curve, selection.point
    if not selection.calibrated:
        return None
    promised, heading = curve.at(selection.guarantee.threshold), _("What a review leaves wrong")
    return Chart(
        title=f"{heading} ({title(selection.driven_by).lower()})" if selection.driven_by else heading,
        x_title=_("Coverage: voxels not reviewed (%)"),
        y_title=_("Expected error (% of the true {size})").format(size=sizes.kind(selection.unit)),
        x=100 * curve.coverages,
        y=100 * curve.errors,
        point=(100 * point.coverage, 100 * point.expected_error),
        band=(100 * curve.lows, 100 * curve.highs),
        promised=(100 * promised.coverage, 100 * promised.expected_error),
    )
