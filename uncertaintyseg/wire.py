"""The JSON that leaves the library: command line, server and clients all speak these models.

Names of maps are the same everywhere (files, JSON, scene nodes). Higher is riskier. Volumes are in mL,
positions in mm (RAS), entropies in nats, probabilities in [0, 1].
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Source = Literal["aleatoric", "epistemic", "total"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Label(_Wire):
    """One structure a model segments. Class 0 is the background and is never listed."""

    id: int = Field(ge=1, description="Voxel value in label volumes.")
    name: str
    rgb: tuple[int, int, int] = Field(description="Display colour, 0 to 255.")
    snomed: str | None = Field(None, description="SNOMED CT code, where one fits.")


class MapInfo(_Wire):
    """How to read and fetch one risk map."""

    url: str | None = Field(None, description="Where the server serves it as NIfTI.")
    unit: str = Field(description="'nats' or '1'.")
    range: tuple[float, float] = Field(description="Smallest and largest value the measure can take.")
    source: Source = Field(description="Kind of uncertainty the map stands for.")


class Structure(_Wire):
    """One row of the structure table."""

    name: str
    id: int
    volume_ml: float
    volume_ml_95: tuple[float, float] | None = Field(description="95 % interval of the volume, or null.")
    interval_method: str = Field(description="How the interval was made, or why there is none.")
    mean_risk: float | None = Field(description="Mean error probability inside the structure; null when it is empty.")
    expected_dice: float | None = Field(description="Dice expected under the model's own probabilities.")
    flag: str | None = Field(description="Why a person should look at this structure, or null.")


class Region(_Wire):
    """One connected place to look at, ranked by expected error."""

    rank: int
    structure: str
    ras_mm: tuple[float, float, float]
    ijk: tuple[int, int, int]
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]]
    volume_ml: float
    expected_error_ml: float
    kind: Literal["border", "missed", "extra"]


class RiskCoveragePoint(_Wire):
    """One point of the calibrated risk-coverage curve at this case."""

    threshold: float
    coverage: float
    reviewed_ml: float
    regions: int
    expected_error: float
    lo: float
    hi: float


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
    seconds: dict[str, float] = Field(description="Wall time of each stage.")


class Risk(_Wire):
    """The object a reviewer needs beside the label."""

    result: str = Field(description="Key of the cached result.")
    maps: dict[str, MapInfo]
    structures: list[Structure]
    regions: list[Region] = Field(default_factory=list)
    risk_coverage: list[RiskCoveragePoint] = Field(default_factory=list)
    guarantee: dict[str, Any] | None = None
    guarantee_reason: str | None = Field(None, description="Why no guarantee can be given.")
    provenance: Provenance


class InferResult(_Wire):
    """What an inference job ends with."""

    risk: Risk
    label: str = Field(description="Where the server serves the label as NIfTI.")
    label_names: dict[str, int]
    labels: list[Label] = Field(description="The same structures with colours and codes.")


class JobRequest(_Wire):
    """Body of POST /uncertainty/v1/jobs."""

    kind: Literal["infer", "score"]
    model: str
    image: str | None = Field(
        None, description="Image id; needed to infer. A score job without it scores every unlabelled image."
    )
    params: dict[str, Any] = Field(default_factory=dict)


class Job(_Wire):
    """Answer of GET /uncertainty/v1/jobs/{id}."""

    id: str
    kind: Literal["infer", "score"]
    state: JobState
    queue_position: int = Field(description="Jobs ahead of this one; 0 when running or ended.")
    fraction: float
    stage: str
    eta_s: float | None
    result: dict[str, Any] | None = None
    error: str | None = None
