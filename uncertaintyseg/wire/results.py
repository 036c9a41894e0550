"""What a model found in a scan: its label, maps, structures, regions, and what is promised."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from uncertaintyseg.wire.base import MEASURE, Message, Sized, SizeUnit, Source


class Label(Message):
    """One structure a model segments. Class 0 is the background and is never listed."""

    id: int = Field(ge=1, description="Voxel value in label volumes.")
    name: str
    rgb: tuple[int, int, int] = Field(description="Display colour, 0 to 255.")
    snomed: str | None = Field(None, description="SNOMED CT code, where one fits.")
    modifier: str | None = Field(None, description="SNOMED CT code of the side, where `snomed` leaves it open.")


class MapInfo(Message):
    """How to read and fetch one risk map."""

    url: str | None = Field(None, description="Where the server serves it as NIfTI.")
    unit: str = Field(description="'nats' or '1'.")
    range: tuple[float, float] = Field(description="Smallest and largest value the measure can take.")
    source: Source = Field(description="Kind of uncertainty the map stands for.")
    description: str | None = Field(None, description="What it shows, where its name alone does not say so.")


class Shape(Message):
    """Size, place and form of a structure in a label; null is what one of this dimension or so few voxels has not."""

    components: int = Field(description="Pieces that touch by no face.")
    area_mm2: float | None = Field(None, description="In a volume of one slice.")
    surface_mm2: float | None = Field(None, description="Of its surface, in a volume.")
    eccentricity: float | None = Field(
        None, description="sqrt(1 - least / largest principal moment): 0 for a ball, near 1 for a line or a sheet."
    )
    elongation: float | None = Field(None, description="Ratio of the two longest axes.")
    centroid_mm: tuple[float, float, float] = Field(description="Mean of its voxels, RAS.")
    box_ijk: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(description="First and last voxel.")
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]] = Field(
        description="Lowest and highest RAS coordinates of that box, voxels' extent included."
    )


class FittedEllipse(Message):
    """The ellipse that fits the outer border of a structure in an image best (direct least squares)."""

    circumference: float
    circumference_95: tuple[float, float] | None = Field(
        None,
        description="As if the border moved as a whole, by a normal law whose standard deviation is that from here to "
        "the border at probability 0.84 or 0.16; null where nothing is so sure, and for labels not the model's.",
    )
    long_axis: float
    short_axis: float
    angle_degrees: float = Field(description="Of the long axis, from the first axis of the scan to the second.")
    unit: Literal["mm", "px"] = Field(description="Of the lengths; 'px' where the spacing is unknown.")


class Structure(Message):
    """One row of the structure table."""

    name: str
    id: int
    volume_ml: float = Field(description="In the result's `size_unit`, as all that ends in `_ml`.")
    volume_ml_95: tuple[float, float] | None = Field(description="95 % interval of the volume, or null.")
    interval_method: str = Field(description="How the interval was made, or why there is none.")
    interval_coverage: float | None = Field(
        None,
        description="Chance that it holds the volume of one more segmentation drawn from the model, 0.95 or more; "
        "where too few were drawn for an interval, what these could reach. Null without draws.",
    )
    mean_risk: float | None = Field(description="Mean error probability inside the structure; null when it is empty.")
    expected_dice: float | None = Field(description="Dice with the truth that the model expects.")
    dice_method: str | None = Field(
        None, description="Whether by drawn shapes or by voxel probabilities; null in reports of old."
    )
    expected_error_ml: float | None = Field(
        None, description="Volume expected to be wrongly in or out of the structure; null in reports of old."
    )
    expected_anomaly: float | None = Field(
        None,
        description="Expected number of voxels on the wrong side of the structure, relative to its size; null for one "
        "that was not found, and in reports of old.",
    )
    flag: str | None = Field(description="Why a person should look at this structure (reasons with '; '), or null.")
    shape: Shape | None = Field(
        None, description="Null for one that was not found, in a clip, without a known spacing, and in reports of old."
    )
    ellipse: FittedEllipse | None = Field(
        None, description="In an image; null for a structure whose border has too few points, and in reports of old."
    )


class Cut(Message):
    """A threshold that was asked for, and where it lies in this scan."""

    of: str = Field(description="'foreground', a structure (both of the probability), or an uncertainty map.")
    method: Literal["otsu", "percentile", "mean_std", "fixed"]
    setting: float | None = Field(description="Percentile, number of standard deviations or value; null for Otsu.")
    value: float = Field(description="What was found: voxels above it are in.")
    unit: str = Field(description="'nats' or '1'.")
    fallback: bool = Field(False, description="Otsu saw no two groups, so that this is the middle of the range.")
    above_ml: float = Field(description="Size of what is above it; of a probability, of what is labelled by it.")
    size_unit: SizeUnit = Field("mL", description="Of that size, see `Sized`.")

    @property
    def text(self) -> str:
        """In a sentence, for people."""
        setting = "" if self.setting is None else f" {self.setting:g}"
        unit = "" if self.unit == "1" else f" {self.unit}"
        why = ", for there are no two groups to part" if self.fallback else ""
        of = self.of.replace("_", " ")
        above = f"{self.above_ml:.2f} {shown_unit(self.size_unit)} above"
        return f"Threshold of {of}, {self.method}{setting}: {self.value:.4g}{unit}{why}; {above}."


def shown_unit(unit: SizeUnit) -> str:
    """A unit of sizes for people."""
    return {"mm2": "mm²", "px": "pixels"}.get(unit, unit)


class LabelledStructure(Structure):
    """One row of the structure table of a label that is not the model's."""

    excess_error_ml: float = Field(description="Expected error beyond that of the model's own best guess.")
    anomaly_score: float | None = Field(
        None, description="Where it differs from the model's own label, relative to its size; null when it is empty."
    )
    anomaly_symmetric: float | None = Field(
        None, description="The same relative to the mean size of both, 0 to 2; null when both are empty."
    )


class Region(Message):
    """One connected place to look at, ranked by expected error."""

    rank: int = Field(description="1 is worst.")
    structure: str
    ras_mm: tuple[float, float, float] = Field(description="Where to look.")
    ijk: tuple[int, int, int] = Field(description="The same voxel, in the slice with most of the expected error.")
    frame: int | None = Field(None, description="Of a clip: the frame that it lies in, from 0; null elsewhere.")
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(description="First and last voxel.")
    volume_ml: float
    expected_error_ml: float = Field(description="Sum of error probability x volume of a voxel.")
    kind: Literal["border", "missed", "extra"] = Field(
        description="Where the surface runs, what is labelled too little, or too much."
    )


class RiskCoveragePoint(Message):
    """One point of the risk-coverage curve at this case; without a calibration nobody knows what stays wrong."""

    threshold: float = Field(description="Of the error probability: what is above it is reviewed.")
    coverage: float = Field(description="Share of the scan that is not reviewed.")
    reviewed_ml: float
    regions: int = Field(description="Pieces of it, connected by faces.")
    expected_error: float | None = Field(
        None, description="Mean over the calibration cases: wrong voxels left / reference voxels."
    )
    lo: float | None = Field(None, description="Of its 95 % interval.")
    hi: float | None = None


class Guarantee(Message):
    """What is promised of cases like the calibration cases if everything riskier than `threshold` is reviewed."""

    kind: Literal["crc", "rcps"] = Field(description="'crc': on average over cases; 'rcps': with confidence 1 - delta.")
    alpha: float = Field(description="Promised bound on wrong voxels left / reference voxels of a case.")
    delta: float | None = Field(description="Chance that the promise fails over the calibration draw; null for crc.")
    threshold: float = Field(description="Review the voxels whose error probability is above this.")
    cases: int = Field(description="Number of calibration cases.")
    reachable_alpha: float = Field(description="Smallest bound that so many cases could promise.")
    text: str = Field(description="The promise in one sentence.")


class Promise(Message):
    """Answer of GET /uncertainty/v1/results/{key}/guarantee."""

    guarantee: Guarantee | None = Field(description="For the alpha and delta that were asked for.")
    guarantee_reason: str | None = Field(None, description="Why nothing can be promised of this result at all.")


class Example(Message):
    """A slice that a model was shown in place of training, see docs/cold_start.md."""

    case: str
    axis: int = Field(ge=0, le=2, description="Of the stored scan, across which the slice lies.")
    index: int = Field(ge=0, description="Voxel on this axis.")
    plane: Literal["axial", "coronal", "sagittal"] | None = Field(None, description="Null of images and clips.")
    label: str | None = Field(None, description="SHA-256 of the file with the label, where it is one.")
    same_patient: bool | None = Field(
        None, description="Whether it is of the patient that the result is of; null where nobody has looked."
    )


class Provenance(Message):
    """Everything needed to make the same maps again, bit for bit on the same device."""

    model: str
    head: str
    weights_checksum: str = Field(description="SHA-256 of the weights file.")
    params: dict[str, Any] = Field(default_factory=dict)
    nodes: int | None = Field(description="Fixed QMC nodes per voxel; null where the moments are in closed form.")
    samples: int | None = Field(description="Coherent samples behind the volume interval; null when none were drawn.")
    seed: int
    window: tuple[int, ...]
    overlap: float
    device: str
    dtype: str
    code_version: str
    numbers: int | None = Field(None, description="Raised with every change of the code that alters a number.")
    calibration: str | None = Field(
        None, description="SHA-256 of the calibration behind the error probability; null where it is the model's own."
    )
    fallback: str | None = Field(None, description="What had to be done otherwise for want of memory, or null.")
    warnings: list[str] = Field(
        default_factory=list, description="Why the scan may not be what the model was trained on, one sentence each."
    )
    channels: dict[str, str] = Field(
        default_factory=dict, description="Name of the file of each channel, where the scan has several."
    )
    values: dict[int, int] = Field(
        default_factory=dict,
        description="Class id by number in the label files of the data set that the model was made for, where that is "
        "not the same.",
    )
    ignore: int | None = Field(None, description="Number in these files that means that nobody said what is there.")
    examples: list[Example] = Field(default_factory=list, description="What a model was shown in place of training.")
    left_out: list[str] = Field(
        default_factory=list,
        description="Labelled cases that cannot be shown beside them: images among volumes, or volumes among images.",
    )
    seconds: dict[str, float] = Field(description="Wall time of each stage.")


class FrameCurves(Message):
    """A clip over time: one number a frame, in order."""

    area: dict[str, list[float]] = Field(description="Of each structure, in the result's `size_unit`.")
    expected_error: list[float] = Field(description="Area expected to be wrong, in the same unit.")
    uncertainty: dict[str, list[float]] = Field(description="Mean over the frame of each map of all structures.")


class Risk(Sized):
    """The object a reviewer needs beside the label."""

    result: str = Field(description="Key of the cached result.")
    spacing_mm: tuple[float, ...] | None = Field(
        None, description="Of the scan along each axis but time; null where it is unknown, and in results of old."
    )
    maps: dict[str, MapInfo] = Field(
        description="All that can be fetched, those of single structures too; of these the volumes are made when asked "
        "for."
    )
    omitted: dict[str, str] = Field(
        default_factory=dict,
        description="Kinds of maps, such as 'variance_<structure>', that this result has not for every structure, and "
        "why.",
    )
    structures: list[LabelledStructure | Structure]
    regions: list[Region] = Field(default_factory=list)
    remaining_error_ml: float | None = Field(
        None, description="Volume expected to be wrong, of voxels that may well be; null in reports of old."
    )
    risk_coverage: list[RiskCoveragePoint] = Field(default_factory=list)
    driven_by: str = Field(
        MEASURE,
        description="Map that `error_probability` was read from; regions, curve and guarantee go by it.",
    )
    guarantee: Guarantee | None = None
    guarantee_reason: str | None = Field(None, description="Why no guarantee can be given.")
    threshold: Cut | None = Field(None, description="Where the threshold that was asked for lies.")
    frames: FrameCurves | None = Field(None, description="Of a clip: areas and uncertainty over time.")
    provenance: Provenance

    @property
    def calibrated(self) -> bool:
        """Whether a calibration holds for this label and its error probability."""
        return any(point.expected_error is not None for point in self.risk_coverage)


class InferResult(Message):
    """What an inference job ends with."""

    risk: Risk
    label: str = Field(description="Where the server serves the label as NIfTI.")
    label_names: dict[str, int]
    labels: list[Label] = Field(description="The same structures with colours and codes.")


class ConditionResult(InferResult):
    """The segmentation and its maps given the clicks, under a key of their own."""

    moved: Literal["shape", "voxel", "none"] = Field(
        description="'shape': clicks moved what lies around them; 'voxel': only the clicked voxels; 'none': no clicks."
    )
    alone: int = Field(description="Clicks that moved only their own voxel.")
    offer: str | None = Field(None, description="What would make the model learn from them, where no shape can move.")


class PlausibleLabel(Message):
    """One whole segmentation drawn from a model."""

    url: str = Field(description="Where the server serves it as NIfTI, on the scan's grid.")
    seed: int
    volumes_ml: dict[str, float] = Field(description="By structure.")


class PlausibleLabels(Message):
    """Whole segmentations, the smallest first."""

    samples: list[PlausibleLabel]
    size_unit: SizeUnit = Field("mL", description="Of `volumes_ml`, see `Sized`.")
