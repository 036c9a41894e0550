"""What the server answers but for results, as plain typed values.

A server that is older, newer or a stock one may lack fields or have more: what is optional gets its default, what is
unknown is ignored, and what is missing raises a `ServerError` that says so, from every function here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from UncertaintySegLib.server.choices import Method, RunOption, parse_methods, parse_options
from UncertaintySegLib.server.label_replies import FinalLabel, parse_final
from UncertaintySegLib.server.looked_at import LookedAt, parse_looked_at
from UncertaintySegLib.server.parsing import parse, tolerant

RISK = "error_probability"


@dataclass(frozen=True)
class Label:
    """One structure a model segments; `id` is its voxel value, `rgb` is 0 to 255 (None: the viewer chooses).

    `snomed` and `modifier` are the SNOMED CT codes of the structure and of its side.
    """

    id: int
    name: str
    rgb: tuple[int, int, int] | None = None
    snomed: str | None = None
    modifier: str | None = None


@dataclass(frozen=True)
class LabelShift:
    """How many voxels of labelled cases a head moves of the label of its base; `foreground` is the base's."""

    base: str
    voxels: int
    foreground: int


@dataclass(frozen=True)
class Model:
    """One model on the server. `head` and `bundle` are None where the server is a stock MONAI Label app.

    `calibration` says on what cases it is calibrated, or why it is not; `label_shift` is None where nobody has counted.
    `origin` says where an imported or derived model comes from; `methods` and `run_options` may be chosen for a run.
    `examples` counts the slices that it is shown in place of training; None of a model that takes none.
    `channels` names the volumes that a scan consists of, in the order in which they are sent. `dimensions` is 3 of a
    model that takes volumes, and 2 of one that takes images, and clips frame by frame.
    """

    name: str
    labels: tuple[Label, ...]
    head: str | None = None
    bundle: str | None = None
    maps: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("image",)
    checksum: str | None = None
    description: str = ""
    task: str = ""
    trainable: bool = False
    dimensions: int = 3
    version: int | None = None
    calibrated: bool = False
    calibration: str = ""
    driven_by: str = ""
    label_shift: LabelShift | None = None
    origin: str = ""
    examples: int | None = None
    methods: tuple[Method, ...] = ()
    run_options: tuple[RunOption, ...] = ()


@dataclass(frozen=True)
class ServerInfo:
    """Who answers and what it offers.

    Attributes:
        strategies: Descriptions by name.
        ranking: Names of those that read the scores of cases.
        archive: Address of the DICOM archive that the scans come from; empty where they are files.
        can_prefetch: Whether it says which case would be next, and makes results before anybody waits for them.
        may_work: Whether we may have cases segmented: not with the token of a viewer.
        failing: Its devices that it leaves alone, because they fail.
    """

    name: str
    version: str
    models: dict[str, Model]
    strategies: dict[str, str]
    ranking: frozenset[str] = frozenset()
    archive: str = ""
    can_prefetch: bool = False
    may_work: bool = True
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The case to look at next, and why.

    Attributes:
        id: Of the case.
        score: None where the strategy does not rank.
        reason: One sentence.
        strategy: Name of the strategy that chose it.
        model: Whose scores were read, or None.
        provenance: Where the score is from: weights, measure, rank, date.
        remaining: Number of cases by state: unlabelled, scored, skipped, locked.
        axis: "time" of a clip; empty where nobody has said.
        stopping: Why further labels may not pay, once that is so.
    """

    id: str
    score: float | None = None
    reason: str = ""
    strategy: str = ""
    model: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    remaining: dict[str, int] = field(default_factory=dict)
    stopping: str | None = None
    axis: str = ""


@dataclass(frozen=True)
class Lease:
    """Who is at a case, and until when (seconds since 1970, UTC)."""

    annotator: str
    until: float
    mine: bool = False


@dataclass(frozen=True)
class CaseRow:
    """One case of the server. `status` is "unlabelled", "labelled", "leased" or "missing"; `labels` are tags.

    `axis` is "time" of a clip.
    """

    id: str
    status: str
    score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    lease: Lease | None = None
    skipped: bool = False
    labels: tuple[str, ...] = ()
    reason: str = ""
    looked_at: LookedAt | None = None
    final: FinalLabel | None = None
    axis: str = ""


@dataclass(frozen=True)
class ArchiveState:
    """Whose a case is in its archive, and what of its label and report has arrived there.

    Attributes:
        archive: Address.
        patient_name, patient_id: As the archive has them; the name as DICOM writes it, Family^Given.
        version: Of the final label on the server; None without one.
        label, report: "none", "waiting" or "stored".
    """

    archive: str
    patient_name: str = ""
    patient_id: str = ""
    version: int | None = None
    label: str = "none"
    report: str = "none"


@dataclass(frozen=True)
class Job:
    """State of a queued, running or ended job. `fraction` is 0 to 1."""

    id: str
    state: str
    fraction: float = 0.0
    stage: str = ""
    queue_position: int = 0
    eta_s: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


@tolerant
def parse_sample(data: dict[str, Any]) -> Sample:
    """Make a `Sample` from the reply of `POST /activelearning/{strategy}`."""
    first = next(iter(data.get("samples") or ()), {})
    strategy = data.get("strategy")
    return parse(
        Sample,
        data,
        strategy=strategy if isinstance(strategy, str) else "",  # MONAI Label's own has a record here
        provenance=first.get("provenance", {}),
    )


@tolerant
def parse_case(data: dict[str, Any]) -> CaseRow:
    """Make a `CaseRow` from a row of `GET /uncertainty/v1/cases`."""
    lease = parse(Lease, data["lease"]) if data.get("lease") else None
    return parse(CaseRow, data, lease=lease, looked_at=parse_looked_at(data), final=parse_final(data))


def parse_labels(names: dict[str, int] | list[str], details: list[dict[str, Any]] = ()) -> tuple[Label, ...]:
    """Make labels from MONAI Label's `{name: id}` (or its older list of names), with colours where known.

    Args:
        names: What a model entry or a result calls its labels.
        details: Our own richer list: id, name, rgb, snomed.
    """
    if details:
        return tuple(parse(Label, entry, rgb=tuple(entry["rgb"]) if entry.get("rgb") else None) for entry in details)
    pairs = names.items() if isinstance(names, dict) else ((name, i) for i, name in enumerate(names, start=1))
    return tuple(Label(int(value), name) for name, value in pairs if int(value) > 0)


@tolerant
def parse_info(data: dict[str, Any], who: dict[str, Any] | None = None) -> ServerInfo:
    """Make a `ServerInfo` from the reply of `GET /info/`, of a stock one as well; `who` says whose token is sent."""
    models = {name: _parse_model(name, entry) for name, entry in (data.get("models") or {}).items()}
    strategies = data.get("strategies") or {}
    return ServerInfo(
        name=str(data.get("name", "MONAI Label")),
        version=str(data.get("version", "")),
        models=models,
        strategies={name: str((entry or {}).get("description", "")) for name, entry in strategies.items()},
        ranking=frozenset(name for name, entry in strategies.items() if (entry or {}).get("reads")),
        archive=str(data.get("archive") or ""),
        can_prefetch=data.get("prefetch") is True,
        may_work=(who or {}).get("roles") != ["viewer"],
        failing=tuple(str(entry["device"]) for entry in data.get("devices") or () if entry.get("set_aside")),
    )


def _parse_model(name: str, entry: dict[str, Any]) -> Model:
    labels = parse_labels(entry.get("labels") or {}, entry.get("label_details") or ())
    shift = parse(LabelShift, entry["label_shift"]) if entry.get("label_shift") else None
    offered = {
        "methods": parse_methods(entry.get("methods")), "run_options": parse_options(entry.get("run_options")),
    }  # fmt: skip
    return parse(Model, entry, name=name, labels=labels, label_shift=shift, driven_by=driver_of(entry), **offered)


def driver_of(data: dict[str, Any]) -> str:
    """Return the map that something goes by; empty: the model's own error probability."""
    driver = str(data.get("driven_by") or RISK)
    return "" if driver == RISK else driver
