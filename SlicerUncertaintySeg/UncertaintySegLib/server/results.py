"""What the server says of a result: its maps, structures and regions, what a review leaves wrong, the promise.

Sizes, also those of fields that end in `_ml`, are in the result's `size_unit`: `ML` of volumes, `MM2` of images and
clips, `PIXELS` of those whose spacing is unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.parsing import parse, parse_all, tolerant
from UncertaintySegLib.server.replies import RISK, Label, driver_of, parse_labels
from UncertaintySegLib.server.sizes import ML


@dataclass(frozen=True)
class MapInfo:
    """How to read and fetch one risk map; `description` says what its name alone does not.

    `driven_by` names the map that this one was read from; empty where it is the model's own.
    """

    url: str
    unit: str
    range: tuple[float, float]
    source: str
    description: str = ""
    driven_by: str = ""


@dataclass(frozen=True)
class Shape:
    """Size, place and form of a structure; None is what one of this dimension or so few voxels has not.

    Attributes:
        components: Pieces that touch by no face.
        area_mm2, surface_mm2: Of a structure in one slice, and of the surface of one in a volume.
        eccentricity: 0 for a ball, near 1 for a line or a sheet.
        elongation: Ratio of the two longest axes.
        centroid_mm: Mean of its voxels, RAS.
        box_ijk, box_mm: First and last voxel of the box around it, and its lowest and highest RAS coordinates.
    """

    components: int
    centroid_mm: tuple[float, float, float]
    box_ijk: tuple[tuple[int, int, int], tuple[int, int, int]]
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    area_mm2: float | None = None
    surface_mm2: float | None = None
    eccentricity: float | None = None
    elongation: float | None = None


@dataclass(frozen=True)
class FittedEllipse:
    """The ellipse that fits the border of a structure in an image.

    Attributes:
        circumference, circumference_95: Its length, and the 95 % interval, or None.
        long_axis, short_axis, angle_degrees: Of the ellipse.
        unit: "mm", or "px" where the spacing is unknown.
    """

    circumference: float
    long_axis: float
    short_axis: float
    angle_degrees: float
    unit: str
    circumference_95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Structure:
    """One row of the structure table.

    Attributes:
        volume_ml_95: 95 % interval; None where the head has no coherent samples, or too few were drawn.
        dice_method: Whether the expected Dice is by drawn shapes or by voxel probabilities.
        expected_error_ml: What is expected to be wrongly in or out of the structure.
        excess_error_ml: What of it the model would do better; only of labels that are not the model's.
        anomaly_score: How far such a label is from the model's own, relative to its size.
        expected_anomaly: Voxels expected on the wrong side of the structure, relative to its size.
        flag: Why a person should look at it, or None.
        shape: None for one that was not found, and from servers of old.
        ellipse: Of a structure in an image.
    """

    name: str
    id: int
    volume_ml: float
    volume_ml_95: tuple[float, float] | None = None
    interval_method: str = ""
    mean_risk: float | None = None
    expected_dice: float | None = None
    dice_method: str | None = None
    expected_error_ml: float | None = None
    excess_error_ml: float | None = None
    anomaly_score: float | None = None
    expected_anomaly: float | None = None
    flag: str | None = None
    shape: Shape | None = None
    ellipse: FittedEllipse | None = None


@dataclass(frozen=True)
class Region:
    """One place to look at; rank 1 is worst.

    Attributes:
        ras_mm, ijk: Where to look, in mm and as the voxel.
        bounding_box: First and last voxel, IJK.
        kind: "border", "missed" or "extra".
        frame: Of a clip, from 0; None elsewhere.
    """

    rank: int
    structure: str
    ras_mm: tuple[float, float, float]
    ijk: tuple[int, int, int]
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]]
    volume_ml: float
    expected_error_ml: float
    kind: str = "border"
    frame: int | None = None


@dataclass(frozen=True)
class Cut:
    """A threshold that was asked for, and where it lies in this scan.

    Attributes:
        of: "foreground", a structure (both of the probability), or an uncertainty map.
        setting: Percentile, number of standard deviations or value; None for Otsu's method.
        fallback: Otsu's method saw no two groups, so that it is the middle of the range.
        above_ml: Size of what is above it.
        size_unit: Of that size.
    """

    of: str
    method: str
    value: float
    setting: float | None = None
    unit: str = "1"
    fallback: bool = False
    above_ml: float = 0.0
    size_unit: str = ML


@dataclass(frozen=True)
class RiskCoveragePoint:
    """What reviewing everything riskier than `threshold` takes, and what stays wrong then.

    Attributes:
        threshold: Of the error probability.
        coverage: Share of the scan that is not reviewed.
        reviewed_ml, regions: Volume that is, and its pieces.
        expected_error: Wrong voxels left / reference voxels, with its 95 % interval `lo` to `hi`; None where nobody
            knows, for want of a calibration.
    """

    threshold: float
    coverage: float
    reviewed_ml: float
    regions: int
    expected_error: float | None = None
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True)
class Guarantee:
    """What is promised if everything riskier than `threshold` is reviewed; `text` is the promise in one sentence."""

    kind: str
    alpha: float
    threshold: float
    text: str
    delta: float | None = None
    cases: int = 0
    reachable_alpha: float | None = None


@dataclass(frozen=True)
class Promise:
    """What is promised of a result, named by its key, at a bound that was asked for; None where nothing can be."""

    result: str
    guarantee: Guarantee | None = None
    guarantee_reason: str | None = None


@dataclass(frozen=True)
class FrameCurves:
    """A clip over time: one number a frame, in order.

    Attributes:
        area: Of each structure.
        expected_error: Area that is expected to be wrong.
        uncertainty: Mean over the frame of each map of all structures, in the map's unit.
    """

    area: dict[str, tuple[float, ...]] = field(default_factory=dict)
    expected_error: tuple[float, ...] = ()
    uncertainty: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class InferResult:
    """An inference, a correction of one or the review of a label: where its label and maps are, and what they say.

    Attributes:
        key: Of the result on the server.
        omitted: Kinds of maps that it has not for every structure, such as "variance_<structure>", and why.
        regions: Where to look, worst first.
        remaining_error_ml: What is expected to be wrong, None in results of old.
        risk_coverage: The curve of this case, by threshold.
        driven_by: Map that regions, curve and guarantee go by; empty: the model's own error probability.
        guarantee: None where none can be given; `guarantee_reason` then says why.
        threshold: Where the threshold that was asked for lies; None where none was.
        moved, alone, offer: Of a correction: what the clicks moved ("shape", "voxel" or "none"), how many moved only
            their own voxel, and what would help.
        size_unit: What sizes are counted in.
        axis: "time" of a clip: what its third axis is; empty where that is space.
        frames: Of a clip: areas and uncertainty over time; None where nobody has said.
    """

    key: str
    label_url: str
    labels: tuple[Label, ...]
    maps: dict[str, MapInfo]
    structures: tuple[Structure, ...]
    provenance: dict[str, Any]
    omitted: dict[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    remaining_error_ml: float | None = None
    risk_coverage: tuple[RiskCoveragePoint, ...] = ()
    driven_by: str = ""
    guarantee: Guarantee | None = None
    guarantee_reason: str | None = None
    threshold: Cut | None = None
    moved: str = ""
    alone: int = 0
    offer: str | None = None
    size_unit: str = ML
    axis: str = ""
    frames: FrameCurves | None = None


def _folder_name(key: str) -> str:
    """Return a result's key, which will name a folder on this computer: nothing in it may leave that folder."""
    if not re.fullmatch(r"[\w-]+", key):
        raise ServerError(f"The server names a result '{key}', which is not a key.")
    return key


@tolerant
def parse_result(data: dict[str, Any]) -> InferResult:
    """Make an `InferResult` from what an inference job, a correction or a review ends with."""
    risk = data["risk"]
    driver = driver_of(risk)
    return parse(
        InferResult,
        {**data, **risk},
        key=_folder_name(risk["result"]),
        label_url=data["label"],
        labels=parse_labels(data["label_names"], data.get("labels", [])),
        maps={
            name: parse(MapInfo, entry, driven_by=driver if name == RISK else "")
            for name, entry in risk["maps"].items()
        },
        driven_by=driver,
        structures=tuple(_structure(row) for row in risk["structures"]),
        provenance=risk["provenance"],
        regions=parse_all(Region, risk.get("regions")),
        risk_coverage=parse_all(RiskCoveragePoint, risk.get("risk_coverage")),
        guarantee=_guarantee(risk),
        threshold=parse(Cut, risk["threshold"]) if risk.get("threshold") else None,
        frames=_frames(risk["frames"]) if risk.get("frames") else None,
    )


def _frames(data: dict[str, Any]) -> FrameCurves:
    named = {key: {name: tuple(row) for name, row in data[key].items()} for key in ("area", "uncertainty")}
    curves = parse(FrameCurves, data, **named)
    if len({len(row) for part in named.values() for row in part.values()} | {len(curves.expected_error)}) > 1:
        raise ValueError("curves over time of different lengths")
    return curves


def _structure(row: dict[str, Any]) -> Structure:
    shape, ellipse = row.get("shape"), row.get("ellipse")
    return parse(
        Structure,
        row,
        shape=parse(Shape, shape) if shape else None,
        ellipse=parse(FittedEllipse, ellipse) if ellipse else None,
    )


@tolerant
def parse_promise(data: dict[str, Any]) -> Promise:
    """Make a `Promise` from what the request `guarantee` answers."""
    return parse(Promise, data, guarantee=_guarantee(data))


def _guarantee(data: dict[str, Any]) -> Guarantee | None:
    return parse(Guarantee, data["guarantee"]) if data.get("guarantee") else None
