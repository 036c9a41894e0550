"""What the panel shows, as plain data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from UncertaintySegLib.logic.decisions import DISMISSED, Decision, accepted_boxes
from UncertaintySegLib.logic.places import Box, Place, same_place
from UncertaintySegLib.server.replies import Model, Sample, ServerInfo
from UncertaintySegLib.server.results import InferResult, MapInfo, Promise, Region
from UncertaintySegLib.server.sizes import ML


@dataclass
class State:
    """What the panel shows.

    Attributes:
        info: What the server offers; None while not connected.
        sample: The case and why it was chosen; None without a case.
        result: What the segmentation, the maps, the regions and the table now come from: an inference, a correction of
            it, or a review of an edited label.
        base: The inference that `result` goes back to.
        model_result, model_label: The model's own last answer, to the scan alone or to clicks, and the file of its
            label: where the segments differ from that, a person drew them.
        blank: The model whose structures are drawn on an empty label; None where a label came from somewhere.
        label: File of the label that the server has of the case; None where it has none.
        has_draft: Whether a label of the case that was never submitted is on this computer.
        label_waits: Whether one that was submitted is there, which the server has not got yet.
        model: Name of the model that is chosen to run.
        trusted: What is right of the label at first, as the request `review` takes it: "edits" where it began as the
            model's own, "none" where it is somebody else's.
        read_only: Whether labels may only be looked at.
        decisions: What was said of regions, one for each place, the last one last.
        seen: Places that somebody looked at since the case was opened, see `logic.attention`.
        seconds_active: How long somebody was at work on it.
        seconds_counted: How much of that the row of a submitted label has, see `logic.pace`.
        error_before_ml: What was expected to be wrong when the case began, or when its label was submitted last; None
            where nobody knows.
        size_unit: What sizes of the case are counted in, see `logic.sizes`.
        corrections: The clicks on the case, as the request `condition` takes them.
        structure: Label id of the structure that was chosen to be corrected, 0 for background.
        review_threshold: Error probability above which voxels are to be reviewed; None while nobody has chosen.
        reader_maps: Maps of where several people's labels of the case differ, by name; they belong to no result.
        submitted: The last label that was sent, or kept until it can be; None before the first.
        promise: The last one that was asked for, of the result that it names.
        message, is_error: The status line.
        stage, fraction, eta_s: What runs, how far (0 to 1) and how long still; fraction is None while nothing does.
    """

    info: ServerInfo | None = None
    sample: Sample | None = None
    result: InferResult | None = None
    base: InferResult | None = None
    model_result: InferResult | None = None
    model_label: Path | None = None
    blank: Model | None = None
    label: Path | None = None
    has_draft: bool = False
    label_waits: bool = False
    model: str = ""
    trusted: str = "edits"
    read_only: bool = False
    decisions: tuple[Decision, ...] = ()
    seen: list[Place] = field(default_factory=list)
    seconds_active: float = 0.0
    seconds_counted: float = 0.0
    error_before_ml: float | None = None
    size_unit: str = ML
    corrections: dict[str, Any] = field(default_factory=dict)
    structure: int = 0
    review_threshold: float | None = None
    reader_maps: dict[str, MapInfo] = field(default_factory=dict)
    submitted: Submitted | None = None
    promise: Promise | None = None
    message: str = ""
    is_error: bool = False
    stage: str = ""
    fraction: float | None = None
    eta_s: float | None = None
    opened: float = field(default_factory=time.monotonic)

    @property
    def seconds_open(self) -> float:
        """How long the case has been open."""
        return time.monotonic() - self.opened

    @property
    def accepted(self) -> list[Box]:
        """Boxes in which the label was found right: first and last voxel, IJK of the scan's file."""
        return accepted_boxes(self.decisions)

    @property
    def dismissed(self) -> int:
        """How many regions were set aside."""
        return sum(decision.state == DISMISSED for decision in self.decisions)

    def see(self, region: Region) -> None:
        """Note that somebody looked at a region."""
        if not any(same_place(place, region) for place in self.seen):
            self.seen.append(Place(region.structure, region.bounding_box))

    @property
    def maps(self) -> dict[str, MapInfo]:
        """All that can be laid over the scan: those of the result, and where readers differ."""
        return {**(self.result.maps if self.result is not None else {}), **self.reader_maps}

    @property
    def shown(self) -> Shown:
        """What belongs to the result that is shown."""
        return Shown(*(getattr(self, name) for name in Shown._fields))


class Submitted(NamedTuple):
    """A label that was submitted: of which case, by which model and method, and what a person did to it."""

    case: str
    model: str
    method: str
    seconds_open: float
    changed_voxels: int
    changed_ml: float
    looked_at: dict[str, Any]
    size_unit: str = ML


class Shown(NamedTuple):
    """What of the state belongs to the result that is shown, as `History` keeps it."""

    result: InferResult | None
    base: InferResult | None
    model_result: InferResult | None
    model_label: Path | None
    corrections: dict[str, Any]
