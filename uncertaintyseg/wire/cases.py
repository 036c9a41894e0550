"""Cases of a server: who is at them, their labels with versions and reviews, and the archive that they go to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from uncertaintyseg.wire.base import Axis, Box, Message, Sized
from uncertaintyseg.wire.results import MapInfo, Region


class Lease(Message):
    """Who is at a case."""

    annotator: str
    until: float = Field(description="When others may have it: seconds since 1970, UTC.")
    mine: bool


class LookedAt(Message):
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


class LabelReview(Message):
    """What a reviewer said of a label: `segmentationMeta` of its record, as MONAILabelReviewer keeps it."""

    status: Literal["", "approved", "flagged"] = Field(description="Empty: yet to be reviewed.")
    level: Literal["", "easy", "medium", "hard"] = Field(description="How hard the case is.")
    comment: str
    approved_by: str = Field(description="Who reviewed it, whatever the status.")
    edit_time: int = Field(description="When: seconds since 1970, UTC, by the server's clock.")
    verified: bool = Field(description="Whether a token said who it was; else it is what the client called itself.")


class FinalLabel(Message):
    """The final label of a case."""

    version: int
    made_by: str = Field(description="Who saved it; empty where nobody knows.")
    mine: bool = Field(description="Whether that is who asks.")
    time: float = Field(description="Seconds since 1970.")
    review: LabelReview | None = Field(description="Null before anybody reviewed it.")


class CaseRow(Message):
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
    axis: Axis | None = Field(None, description="'time': a clip, by what is known of the scan; null elsewhere.")


class CaseList(Message):
    """Answer of GET /uncertainty/v1/cases."""

    cases: list[CaseRow]
    skipped: dict[str, str] = Field(
        default_factory=dict, description="Files of the studies folder that are not served, and why."
    )


class Version(Message):
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
    verified: list[Box] | None = Field(
        None, description="Where a person has looked at it, and only there it counts; null: all of it."
    )
    review: LabelReview | None = Field(None, description="Null before anybody reviewed it.")


class VersionList(Message):
    """Answer of GET /uncertainty/v1/cases/{image}/versions."""

    versions: list[Version]


class StructureChange(Message):
    """One structure in two versions of a label."""

    id: int
    name: str
    dice: float = Field(description="Of the two.")
    voxels: tuple[int, int] = Field(description="In the one, and in the other.")
    ml: tuple[float, float] = Field(description="The same, in the comparison's `size_unit`.")


class VersionComparison(Sized):
    """Answer of GET /uncertainty/v1/cases/{image}/versions/{number}/compare."""

    version: int
    to: int
    voxels_changed: int
    changed_ml: float = Field(description="The same, in `size_unit`.")
    structures: list[StructureChange]
    regions: list[Region] = Field(
        description="Where they differ, the largest first. As seen from the one, 'missed' is what it lacks of the "
        "other, 'extra' what only it has; `expected_error_ml` is the size of what differs."
    )


class Reading(Message):
    """The newest final label of one person."""

    reader: str
    version: int
    time: float = Field(description="Seconds since 1970.")


class Readings(Sized):
    """Answer of GET /uncertainty/v1/cases/{image}/readers."""

    readers: list[Reading] = Field(description="Whose labels are compared, by name.")
    left_out: dict[str, str] = Field(description="Readers whose label cannot be compared, and why.")
    reason: str | None = Field(None, description="Why nothing is compared, or null.")
    maps: dict[str, MapInfo] = Field(default_factory=dict, description="`reader_disagreement`, or none.")
    differing_ml: float | None = Field(None, description="Size of that on which they do not all agree.")
    regions: list[Region] = Field(
        default_factory=list,
        description="Where they disagree, worst first. `expected_error_ml` is what two of them, drawn at random, label "
        "differently; the kind is as seen from the label that most of them chose.",
    )


class LeaseRequest(Message):
    """Body of POST /uncertainty/v1/cases/{image}/lease."""

    minutes: float = Field(30, gt=0, le=7 * 24 * 60)
    client_id: str | None = Field(None, description="Who asks, where nobody logs in.")


class DicomObject(Message):
    """Where a DICOMweb server has what was stored there."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class ArchiveState(Message):
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


class Backup(Message):
    """Answer of POST /uncertainty/v1/backup."""

    file: str = Field(description="Copy of the records, in the studies folder.")
    id: str = Field(description="Of the records.")
