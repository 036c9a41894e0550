"""Ellipses of structures in images, such as the circumference of a head, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours

from uncertaintyseg.data.ellipse import Ellipse, fit_ellipse
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.time_axis import Measure
from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.intervals import mean_with_interval
from uncertaintyseg.review.shape_features import with_shapes
from uncertaintyseg.wire import FittedEllipse, Structure

LEVELS = (0.8413, 0.1587)
"""Probabilities whose borders lie a standard deviation inside and outside of one that is normally distributed."""
DEVIATIONS = 1.96
"""So many of which make a 95 % interval."""
Row = TypeVar("Row", bound=Structure)


def outer_border(values: np.ndarray, level: float = 0.5) -> np.ndarray:
    """The border of the largest area where values exceed a level, between pixels (marching squares).

    Holes, such as other structures within, are no part of it.

    Args:
        values: mask or probability `[X, Y]`; outside of the picture they are 0.
        level: between 0 and 1.

    Returns:
        Points `[N, 2]` in pixels from the centre of the first one; none where nothing exceeds the level.
    """
    lines = find_contours(np.pad(values.astype(np.float64), 1), level)
    return max(lines, key=_area) - 1 if lines else np.zeros((0, 2))


def border_ellipse(values: np.ndarray, spacing: Sequence[float], level: float = 0.5) -> Ellipse:
    """The ellipse that fits the outer border of a structure.

    Args:
        values: mask or probability `[X, Y]`.
        spacing: of the pixels along both axes; the ellipse is in its unit.
        level: of the border.

    Raises:
        InputError: where the border has too few points for an ellipse.
    """
    points = outer_border(values, level)[:-1] * np.asarray(spacing)  # the last is the first again
    return fit_ellipse(*points.T)


def measured_ellipse(mask: np.ndarray, probability: np.ndarray | None, affine: np.ndarray, unit: str) -> FittedEllipse:
    """The ellipse of a structure in an image, and the interval of its circumference.

    The interval is of a border that moves as a whole and normally: to either side 1.96 times as far as the ellipse of
    the border at probability 0.84 or 0.16. The level sets of 0.975 and 0.025 themselves are not taken: there p is of
    doubts about what lies there, such as shadows, and not of the border. Borders whose parts move independently would
    have a narrower one.

    Args:
        mask: bool `[X, Y, 1]`.
        probability: of the structure and of what it encloses, `[X, Y, 1]`; None: no interval.
        affine: 4x4; in-plane axes are taken as perpendicular.
        unit: "mm", or "px" where the affine counts pixels.

    Raises:
        InputError: where the border has too few points for an ellipse.
    """
    spacing = spacing_mm(affine)[:2]
    own = border_ellipse(mask[..., 0], spacing)
    around, limits = own.circumference, None
    if probability is not None:
        p = np.asarray(probability)[..., 0]
        try:
            ends = [border_ellipse(p, spacing, level).circumference for level in LEVELS]
        except InputError:  # nothing is so sure
            ends = []
        limits = tuple(round(around + DEVIATIONS * (end - around), 3) for end in sorted(ends)) or None
        if limits and not 0 < limits[0] <= around <= limits[1]:  # parts of the structure come and go with the level
            limits = None
    return FittedEllipse(
        circumference=round(around, 3),
        circumference_95=limits,
        long_axis=round(2 * own.long, 3),
        short_axis=round(2 * own.short, 3),
        angle_degrees=round(float(np.degrees(own.angle)), 2),
        unit=unit,
    )


@dataclass(frozen=True)
class MeasuredEllipse:
    """The ellipse of a structure, or why there is none, and how far its circumference is from that of a reference.

    Attributes:
        found: of the label.
        reason: why there is none, of the label or of the reference.
        reference: circumference of the reference's ellipse, in the unit of `found`.
    """

    found: FittedEllipse | None
    reason: str | None = None
    reference: float | None = None

    @property
    def error(self) -> float | None:
        """Circumference less that of the reference."""
        if self.found is None or self.reference is None:
            return None
        return round(self.found.circumference - self.reference, 3)

    @property
    def holds(self) -> bool | None:
        """Whether the interval holds the circumference of the reference."""
        if self.found is None or self.reference is None or self.found.circumference_95 is None:
            return None
        low, high = self.found.circumference_95
        return low <= self.reference <= high

    def as_json(self) -> dict[str, Any]:
        """All of it; the fields of the ellipse beside the others."""
        own = dict.fromkeys(FittedEllipse.model_fields) if self.found is None else self.found.model_dump()
        return own | {
            "reason": self.reason, "reference": self.reference, "error": self.error, "in_95": self.holds,
        }  # fmt: skip


def compared_ellipse(
    mask: np.ndarray, reference: np.ndarray | None, probability: np.ndarray, affine: np.ndarray, unit: str
) -> MeasuredEllipse:
    """`measured_ellipse` of a label, held against that of a reference, bool `[X, Y, 1]`."""
    try:
        found = measured_ellipse(mask, probability, affine, unit)
    except InputError as error:
        return MeasuredEllipse(None, str(error))
    if reference is None:
        return MeasuredEllipse(found)
    try:
        true = measured_ellipse(reference, None, affine, unit)
    except InputError as error:
        return MeasuredEllipse(found, f"of the reference: {error}")
    return MeasuredEllipse(found, None, true.circumference)


def with_forms(
    rows: Sequence[Row],
    label: np.ndarray,
    affine: np.ndarray,
    sizes: Measure,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> list[Row]:
    """Rows of a structure table with shapes, where mm are known, and in images with ellipses; none of either in a clip.

    Args:
        rows: of structures.
        label: class ids `[X, Y, Z]`.
        affine: 4x4, voxel to RAS+ mm.
        sizes: what the scan's sizes are counted in.
        probabilities: of each structure by name, `[X, Y, Z]`, for intervals; all of the label's.
    """
    if sizes.clip:
        return list(rows)
    found = list(rows) if sizes.unit == "px" else with_shapes(rows, label, affine)
    if sizes.unit == "mL":
        return found
    unit = "px" if sizes.unit == "px" else "mm"
    known = {row.id: probabilities[row.name] for row in found} if probabilities else None
    ellipses = [
        _or_none(label == row.id, None if known is None else whole_probability(label, row.id, known), affine, unit)
        for row in found
    ]
    return [row.model_copy(update={"ellipse": each}) for row, each in zip(found, ellipses, strict=True)]


def whole_probability(label: np.ndarray, i: int, probabilities: Mapping[int, np.ndarray]) -> np.ndarray:
    """Probability `[X, Y, 1]` of a structure or of one that it encloses: what its outer border lies around.

    Args:
        label: class ids `[X, Y, 1]`.
        i: of the structure; it encloses those of which most pixels lie in its holes.
        probabilities: of each structure by id, `[X, Y, 1]`; one that is missing counts as not enclosed.
    """
    mask = label[..., 0] == i
    holes = label[..., 0][binary_fill_holes(mask) & ~mask]
    found = np.array(probabilities[i], dtype=np.float32)
    for other in np.unique(holes[holes > 0]).tolist():
        if other in probabilities and 2 * np.count_nonzero(holes == other) > np.count_nonzero(label == other):
            found += np.asarray(probabilities[other])
    return found


def circumferences(
    rows: Sequence[Structure], reference: np.ndarray | None, affine: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Of each structure of a predicted image that has an ellipse, or should: its circumference against the truth.

    Args:
        rows: of a prediction, with their ellipses.
        reference: class ids `[X, Y, 1]`; None: not known everywhere.
        affine: 4x4.

    Returns:
        By name what `MeasuredEllipse.as_json` says; empty for volumes and clips.
    """
    unit = next((row.ellipse.unit for row in rows if row.ellipse), None)
    found = {}
    for row in rows if unit else []:
        true = None
        if reference is not None:
            true = _or_none(reference == row.id, None, affine, unit)
        found[row.name] = MeasuredEllipse(row.ellipse, None, true and true.circumference).as_json()
    return found


def mean_circumferences(cases: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Over cases, by structure: errors of the circumference, and how often its interval held.

    Lengths of another unit than the first one's are left out.

    Args:
        cases: what `circumferences` says of each.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for case in cases for name in case):
        rows = [case[name] for case in cases if name in case and case[name]["error"] is not None]
        unit = rows[0]["unit"] if rows else None
        rows = [row for row in rows if row["unit"] == unit]
        held = [row["in_95"] for row in rows if row["in_95"] is not None]
        found[name] = {
            "n": len(rows),
            "unit": unit,
            "error": mean_with_interval([row["error"] for row in rows])._asdict(),
            "absolute_error": mean_with_interval([abs(row["error"]) for row in rows])._asdict(),
            "coverage_95": sum(held) / len(held) if held else None,
        }
    return found


def _or_none(mask: np.ndarray, probability: np.ndarray | None, affine: np.ndarray, unit: str) -> FittedEllipse | None:
    try:
        return measured_ellipse(mask, probability, affine, unit)
    except InputError:
        return None


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2
