"""Jobs, and what is asked before one: which label is which, and whether model and scan fit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from uncertaintyseg.wire.base import JobKind, JobState, Message


class JobRequest(Message):
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


class Job(Message):
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


class MatchPart(Message):
    """One structure of somebody's segmentation, as it calls itself."""

    key: str = Field(max_length=1000, description="What it is called in the answer; each part has its own.")
    name: str = Field(max_length=1000)
    snomed: str | None = Field(None, max_length=100, description="SNOMED CT code.")
    modifier: str | None = Field(None, max_length=100, description="SNOMED CT code of the side.")


class MatchRequest(Message):
    """Body of POST /uncertainty/v1/match."""

    model: str
    parts: list[MatchPart] = Field(max_length=2000)


class Unmatched(Message):
    """A part that is no label of the model."""

    key: str
    models: list[str] = Field(description="Models of the server that know it.")


class MatchResult(Message):
    """Which label of a model each part of a segmentation is."""

    matched: dict[str, int] = Field(description="Label id by key of the part.")
    unmatched: list[Unmatched]


class CheckRequest(Message):
    """Body of POST /uncertainty/v1/check: what is about to be run."""

    model: str
    image: str = Field(description="Image id.")


class Check(Message):
    """What a person should know before a model runs on a scan."""

    warnings: list[str] = Field(description="One sentence each; empty where nothing speaks against it.")
