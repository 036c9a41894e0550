"""The JSON that leaves the library: command line, server and clients all speak these models.

Names of maps are the same everywhere (files, JSON, scene nodes). Higher is riskier. Volumes are in mL,
positions in mm (RAS), entropies in nats, probabilities in [0, 1].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MEASURE = "error_probability"
"""The map that people review by: the model's own 1 - p[label], or what a calibration makes of the map that drives."""
Source = Literal["aleatoric", "epistemic", "total", "readers"]
"""`readers`: none of a model's, but what people differ by."""
Modality = Literal["CT", "MR"]
Index = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Voxel = tuple[Index, Index, Index]
"""IJK."""
Corner = Annotated[float, Field(ge=-1, le=2**31, allow_inf_nan=False)]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind = Literal["infer", "condition", "samples", "score", "batch", "train", "calibrate"]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Label(_Wire):
    """One structure a model segments. Class 0 is the background and is never listed."""

    id: int = Field(ge=1, description="Voxel value in label volumes.")
    name: str
    rgb: tuple[int, int, int] = Field(description="Display colour, 0 to 255.")
    snomed: str | None = Field(None, description="SNOMED CT code, where one fits.")
    modifier: str | None = Field(None, description="SNOMED CT code of the side, where `snomed` leaves it open.")


class MapInfo(_Wire):
    """How to read and fetch one risk map."""

    url: str | None = Field(None, description="Where the server serves it as NIfTI.")
    unit: str = Field(description="'nats' or '1'.")
    range: tuple[float, float] = Field(description="Smallest and largest value the measure can take.")
    source: Source = Field(description="Kind of uncertainty the map stands for.")
    description: str | None = Field(None, description="What it shows, where its name alone does not say so.")


class Structure(_Wire):
    """One row of the structure table."""

    name: str
    id: int
    volume_ml: float
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
    flag: str | None = Field(description="Why a person should look at this structure (reasons with '; '), or null.")


class LabelledStructure(Structure):
    """One row of the structure table of a label that is not the model's."""

    excess_error_ml: float = Field(description="Expected error beyond that of the model's own best guess.")
    anomaly_score: float | None = Field(
        None, description="Where it differs from the model's own label, relative to its size; null when it is empty."
    )


class Region(_Wire):
    """One connected place to look at, ranked by expected error."""

    rank: int = Field(description="1 is worst.")
    structure: str
    ras_mm: tuple[float, float, float] = Field(description="Where to look.")
    ijk: tuple[int, int, int] = Field(description="The same voxel, in the slice with most of the expected error.")
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(description="First and last voxel.")
    volume_ml: float
    expected_error_ml: float = Field(description="Sum of error probability x volume of a voxel.")
    kind: Literal["border", "missed", "extra"] = Field(
        description="Where the surface runs, what is labelled too little, or too much."
    )


class RiskCoveragePoint(_Wire):
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


class Guarantee(_Wire):
    """What is promised of cases like the calibration cases if everything riskier than `threshold` is reviewed."""

    kind: Literal["crc", "rcps"] = Field(description="'crc': on average over cases; 'rcps': with confidence 1 - delta.")
    alpha: float = Field(description="Promised bound on wrong voxels left / reference voxels of a case.")
    delta: float | None = Field(description="Chance that the promise fails over the calibration draw; null for crc.")
    threshold: float = Field(description="Review the voxels whose error probability is above this.")
    cases: int = Field(description="Number of calibration cases.")
    reachable_alpha: float = Field(description="Smallest bound that so many cases could promise.")
    text: str = Field(description="The promise in one sentence.")


class Promise(_Wire):
    """Answer of GET /uncertainty/v1/results/{key}/guarantee."""

    guarantee: Guarantee | None = Field(description="For the alpha and delta that were asked for.")
    guarantee_reason: str | None = Field(None, description="Why nothing can be promised of this result at all.")


class Provenance(_Wire):
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
    seconds: dict[str, float] = Field(description="Wall time of each stage.")


class Risk(_Wire):
    """The object a reviewer needs beside the label."""

    result: str = Field(description="Key of the cached result.")
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
    provenance: Provenance

    @property
    def calibrated(self) -> bool:
        """Whether a calibration holds for this label and its error probability."""
        return any(point.expected_error is not None for point in self.risk_coverage)


class InferResult(_Wire):
    """What an inference job ends with."""

    risk: Risk
    label: str = Field(description="Where the server serves the label as NIfTI.")
    label_names: dict[str, int]
    labels: list[Label] = Field(description="The same structures with colours and codes.")


class Corrections(BaseModel):
    """Voxels and what they are: IJK on the grid of the stored scan, by MONAI Label's names or by structure."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[Voxel]]

    foreground: list[Voxel] = Field(
        default_factory=list, description="Voxels of `label`; a key with a structure's name says the same."
    )
    background: list[Voxel] = Field(default_factory=list, description="Voxels of no structure.")


class BoxCorrection(_Wire):
    """A structure ends at a box: first and last voxel, IJK; one voxel thick, it speaks of its slice alone."""

    structure: str
    first: Voxel
    last: Voxel


class LassoCorrection(_Wire):
    """All voxels inside a closed curve on a slice are of a structure."""

    structure: str = Field(description="Its name, or 'background'.")
    corners: list[tuple[Corner, Corner, Corner]] = Field(
        min_length=3, max_length=500, description="IJK on one plane; whole numbers are the middles of voxels."
    )


class ConditionRequest(Corrections):
    """Body of POST /uncertainty/v1/results/{key}/condition: all corrections that hold, each time."""

    label: str | None = Field(None, description="What `foreground` is; needed where the model has several structures.")
    scribbles: Corrections = Field(default_factory=Corrections, description="Strokes: all their voxels.")
    boxes: list[BoxCorrection] = Field(default_factory=list, max_length=100)
    lassos: list[LassoCorrection] = Field(
        default_factory=list,
        max_length=50,
        description="Of two on a voxel the later one counts, and of a click or a scribble that.",
    )
    reach_mm: float | None = Field(None, gt=0, le=1000, description="How far a click is heard; null for the usual.")


class ConditionResult(InferResult):
    """The segmentation and its maps given the clicks, under a key of their own."""

    moved: Literal["shape", "voxel", "none"] = Field(
        description="'shape': clicks moved what lies around them; 'voxel': only the clicked voxels; 'none': no clicks."
    )
    alone: int = Field(description="Clicks that moved only their own voxel.")
    offer: str | None = Field(None, description="What would make the model learn from them, where no shape can move.")


class ReviewRequest(_Wire):
    """`params` of POST /uncertainty/v1/results/{key}/review, beside the label."""

    trusted: Literal["edits", "none"] = Field(
        "edits",
        description="'edits': where it differs from the model's label a person said so, and that is right; 'none': "
        "the label is somebody else's, and where it differs it may be wrong.",
    )
    accepted: list[tuple[Voxel, Voxel]] = Field(
        default_factory=list, description="Boxes in which a person found it right: first and last voxel, IJK."
    )


class SamplesRequest(_Wire):
    """Body of POST /uncertainty/v1/results/{key}/samples."""

    count: int = Field(8, ge=1, le=32)
    seed: int = Field(0, ge=0, lt=2**63)


class PlausibleLabel(_Wire):
    """One whole segmentation drawn from a model."""

    url: str = Field(description="Where the server serves it as NIfTI, on the scan's grid.")
    seed: int
    volumes_ml: dict[str, float] = Field(description="By structure.")


class PlausibleLabels(_Wire):
    """Whole segmentations, the smallest first."""

    samples: list[PlausibleLabel]


class Lease(_Wire):
    """Who is at a case."""

    annotator: str
    until: float = Field(description="When others may have it: seconds since 1970, UTC.")
    mine: bool


class LookedAt(_Wire):
    """What a person looked at before saving a label, as the client counted it; `params.looked_at` of a save."""

    seconds: float = Field(ge=0, lt=1e9, description="At work on the case; idle time beyond 3 minutes left out.")
    regions: int = Field(ge=0, lt=2**31, description="Places that were offered to look at.")
    seen: int = Field(ge=0, lt=2**31, description="Of these: gone to, or in the slice of a view for a second.")
    not_looked_at: int = Field(ge=0, lt=2**31, description="The others.")
    accepted: int = Field(ge=0, lt=2**31, description="Of the regions: found right.")
    dismissed: int = Field(ge=0, lt=2**31, description="Of the regions: set aside.")

    @model_validator(mode="after")
    def _adds_up(self) -> LookedAt:
        if self.seen + self.not_looked_at != self.regions:
            raise ValueError("seen and not_looked_at together are not the regions")
        if self.accepted + self.dismissed > self.regions:
            raise ValueError("more regions were accepted and dismissed than there are")
        return self


class LabelReview(_Wire):
    """What a reviewer said of a label: `segmentationMeta` of its record, as MONAILabelReviewer keeps it."""

    status: Literal["", "approved", "flagged"] = Field(description="Empty: yet to be reviewed.")
    level: Literal["", "easy", "medium", "hard"] = Field(description="How hard the case is.")
    comment: str
    approved_by: str = Field(description="Who reviewed it, whatever the status.")
    edit_time: int = Field(description="When: seconds since 1970, UTC, by the server's clock.")
    verified: bool = Field(description="Whether a token said who it was; else it is what the client called itself.")


class FinalLabel(_Wire):
    """The final label of a case."""

    version: int
    made_by: str = Field(description="Who saved it; empty where nobody knows.")
    mine: bool = Field(description="Whether that is who asks.")
    time: float = Field(description="Seconds since 1970.")
    review: LabelReview | None = Field(description="Null before anybody reviewed it.")


class CaseRow(_Wire):
    """One case of a server."""

    id: str
    status: Literal["unlabelled", "labelled", "leased", "missing"]
    score: float | None = Field(description="Predictive entropy near the foreground, nats; null before it was scored.")
    scores: dict[str, float] = Field(description="All that the model was asked, by measure.")
    model: str | None = Field(description="Whose scores.")
    lease: Lease | None
    skipped: bool = Field(description="Whether who asks has passed it over.")
    labels: list[str] = Field(description="Tags.")
    reason: str = Field(description="Where it stands, in words.")
    looked_at: LookedAt | None = Field(None, description="Before its final label was saved; null where nobody said.")
    final: FinalLabel | None = Field(None, description="Null without a final label.")


class CaseList(_Wire):
    """Answer of GET /uncertainty/v1/cases."""

    cases: list[CaseRow]
    skipped: dict[str, str] = Field(
        default_factory=dict, description="Files of the studies folder that are not served, and why."
    )


class Version(_Wire):
    """One state of a label."""

    id: int
    tag: str
    made_by: str = Field(description="Who saved it; empty where nobody knows.")
    source: str = Field(description="saved, by hand (found in the folder), imported, or restored N.")
    time: float = Field(description="Seconds since 1970.")
    seconds: float | None = Field(description="How long it took a person; null where nobody said.")
    bytes: int
    sha256: str
    model: str | None = Field(description="Whose label was corrected.")
    result: str | None = Field(description="Key of the result that was corrected.")
    counts: bool = Field(description="Whether it is the label of the case now.")
    looked_at: LookedAt | None = Field(None, description="Before it was saved; null where nobody said.")
    review: LabelReview | None = Field(None, description="Null before anybody reviewed it.")


class VersionList(_Wire):
    """Answer of GET /uncertainty/v1/cases/{image}/versions."""

    versions: list[Version]


class StructureChange(_Wire):
    """One structure in two versions of a label."""

    id: int
    name: str
    dice: float = Field(description="Of the two.")
    voxels: tuple[int, int] = Field(description="In the one, and in the other.")
    ml: tuple[float, float] = Field(description="The same, mL.")


class VersionComparison(_Wire):
    """Answer of GET /uncertainty/v1/cases/{image}/versions/{number}/compare."""

    version: int
    to: int
    voxels_changed: int
    changed_ml: float = Field(description="The same, mL.")
    structures: list[StructureChange]
    regions: list[Region] = Field(
        description="Where they differ, the largest first. As seen from the one, 'missed' is what it lacks of the "
        "other, 'extra' what only it has; `expected_error_ml` is the volume that differs."
    )


class Reading(_Wire):
    """The newest final label of one person."""

    reader: str
    version: int
    time: float = Field(description="Seconds since 1970.")


class Readings(_Wire):
    """Answer of GET /uncertainty/v1/cases/{image}/readers."""

    readers: list[Reading] = Field(description="Whose labels are compared, by name.")
    left_out: dict[str, str] = Field(description="Readers whose label cannot be compared, and why.")
    reason: str | None = Field(None, description="Why nothing is compared, or null.")
    maps: dict[str, MapInfo] = Field(default_factory=dict, description="`reader_disagreement`, or none.")
    differing_ml: float | None = Field(None, description="Volume on which they do not all agree.")
    regions: list[Region] = Field(
        default_factory=list,
        description="Where they disagree, worst first. `expected_error_ml` is what two of them, drawn at random, label "
        "differently; the kind is as seen from the label that most of them chose.",
    )


class Backup(_Wire):
    """Answer of POST /uncertainty/v1/backup."""

    file: str = Field(description="Copy of the records, in the studies folder.")
    id: str = Field(description="Of the records.")


class LeaseRequest(_Wire):
    """Body of POST /uncertainty/v1/cases/{image}/lease."""

    minutes: float = Field(30, gt=0, le=7 * 24 * 60)
    client_id: str | None = Field(None, description="Who asks, where nobody logs in.")


class ModelVersion(_Wire):
    """One version of a model's weights, and how it came to be."""

    number: int = Field(0, description="1 is the first that was kept.")
    checksum: str = Field("", description="SHA-256 of the weights file.")
    created: str = Field("", description="ISO date and time, UTC.")
    origin: Literal["before training", "trained"] = "trained"
    scope: Literal["whole", "head"] | None = Field(None, description="What was trained.")
    training_cases: int | None = None
    validation_cases: int | None = None
    before: dict[str, float] | None = Field(
        None, description="Validation scores of the weights it replaced: 'dice', 'nll' (nats)."
    )
    after: dict[str, float] | None = Field(None, description="Its own, on the same cases.")
    seconds: float | None = Field(None, description="Wall time of the training.")


class LabelShift(_Wire):
    """How far a head moves the label of the model that it was put on, counted on the model's grid of labelled cases."""

    base: str = Field(description="Name of that model.")
    voxels: int = Field(ge=0, description="That have another label, of the cases that the head was validated on.")
    foreground: int = Field(ge=0, description="Voxels that the base labels as a structure.")

    @property
    def percent(self) -> float:
        """Of the base's foreground."""
        return 100 * self.voxels / max(self.foreground, 1)


class RunOption(_Wire):
    """One thing that may be chosen for a run."""

    name: str
    kind: Literal["integer", "number", "switch", "choice"]
    default: int | float | bool | str | None = Field(description="Null: the model's own way.")
    low: int | float | None = Field(None, description="Least number, allowed.")
    high: int | float | None = Field(None, description="Largest number, allowed.")
    choices: list[str] = Field(default_factory=list)
    text: str = Field("", description="What it does, in a sentence.")


class Method(_Wire):
    """Passes that can run on a model as it is: `params.method`, with `params.options`."""

    name: str
    summary: str = Field(description="What it does, in a line.")
    passes: int = Field(description="How often the network runs, with the options' defaults.")
    options: list[RunOption]


class Model(_Wire):
    """One model of a server."""

    name: str
    description: str
    task: str
    head: str
    modality: Modality | None = Field(None, description="What it was trained on; null where nobody has said.")
    checksum: str = Field(description="SHA-256 of the weights in use; empty before training.")
    labels: list[Label]
    maps: list[str] = Field(description="Names; one that ends in `_*` stands for one map for each structure.")
    trainable: bool
    version: int | None = Field(description="Number of the version in use; null where nothing was ever published.")
    versions: list[ModelVersion]
    calibrated: bool
    calibration: str = Field(description="On what the weights in use are calibrated, or why they are not.")
    driven_by: str = Field(MEASURE, description="Map that drives its calibration, see `Risk`.")
    label_shift: LabelShift | None = Field(
        None, description="Of a head on another model's network; null where nobody has counted it for these weights."
    )
    origin: str | None = Field(None, description="Where it comes from, where it was not trained here from the start.")
    methods: list[Method] = Field(default_factory=list, description="What can be run in place of the model as it is.")
    run_options: list[RunOption] = Field(
        default_factory=list, description="What may be chosen for every run, under these names in `params`."
    )


class RestoreRequest(_Wire):
    """Body of POST /uncertainty/v1/models/{name}/restore."""

    version: int = Field(ge=0, lt=2**31)


class TrainResult(_Wire):
    """What a training ends with. Weights that validate worse than those in use are not published."""

    published: bool
    reason: str = Field(description="Why it was published or not.")
    version: int | None = Field(None, description="Number of the published version.")
    record: ModelVersion


class DicomObject(_Wire):
    """Where a DICOMweb server has what was stored there."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class ArchiveState(_Wire):
    """Where the final label of a case and a report on it go, whose they are there, and whether they have arrived."""

    archive: str = Field(description="Address of the DICOMweb server that the scan comes from.")
    patient_name: str = Field(description="As the archive has it, in DICOM's form: Family^Given; empty without one.")
    patient_id: str
    version: int | None = Field(
        description="Of the final label that counts; null without one, and nothing can be sent."
    )
    label: Literal["none", "waiting", "stored"] = Field(description="Its DICOM Segmentation.")
    label_uid: str | None = Field(description="SOPInstanceUID.")
    report: Literal["none", "waiting", "stored"] = Field(description="The Encapsulated PDF about this version.")
    report_uid: str | None = Field(description="SOPInstanceUID.")


class JobRequest(_Wire):
    """Body of POST /uncertainty/v1/jobs."""

    kind: Literal["infer", "score", "batch", "train", "calibrate"]
    model: str
    image: str | None = Field(
        None, description="Image id; needed to infer. A score job without it scores every unlabelled image."
    )
    images: Literal["all", "labeled", "unlabeled"] | list[str] = Field("all", description="What a batch job takes.")
    params: dict[str, Any] = Field(default_factory=dict)
    priority: Literal["now", "prefetch"] = Field(
        "now",
        description="A prefetch is an inference that its annotator will want soon: it stands still while anybody waits "
        "for the device, is urgent as soon as somebody asks for the same, and gives way to the annotator's next one.",
    )
    client_id: str | None = Field(None, description="Whose prefetch it is, where nobody logs in.")


class MatchPart(_Wire):
    """One structure of somebody's segmentation, as it calls itself."""

    key: str = Field(max_length=1000, description="What it is called in the answer; each part has its own.")
    name: str = Field(max_length=1000)
    snomed: str | None = Field(None, max_length=100, description="SNOMED CT code.")
    modifier: str | None = Field(None, max_length=100, description="SNOMED CT code of the side.")


class MatchRequest(_Wire):
    """Body of POST /uncertainty/v1/match."""

    model: str
    parts: list[MatchPart] = Field(max_length=2000)


class Unmatched(_Wire):
    """A part that is no label of the model."""

    key: str
    models: list[str] = Field(description="Models of the server that know it.")


class MatchResult(_Wire):
    """Which label of a model each part of a segmentation is."""

    matched: dict[str, int] = Field(description="Label id by key of the part.")
    unmatched: list[Unmatched]


class CheckRequest(_Wire):
    """Body of POST /uncertainty/v1/check: what is about to be run."""

    model: str
    image: str = Field(description="Image id.")


class Check(_Wire):
    """What a person should know before a model runs on a scan."""

    warnings: list[str] = Field(description="One sentence each; empty where nothing speaks against it.")


class Job(_Wire):
    """Answer of GET /uncertainty/v1/jobs/{id}."""

    id: str
    kind: JobKind
    state: JobState
    queue_position: int = Field(description="Jobs ahead of this one; 0 when running or ended.")
    fraction: float
    stage: str
    eta_s: float | None
    result: dict[str, Any] | None = None
    error: str | None = None
