"""Answers about the labels of a case that people have saved, as plain typed values: reviews, versions, readers.

Sizes, also those of fields that end in `ml`, are in the answer's `size_unit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from UncertaintySegLib.server.looked_at import LookedAt, parse_looked_at
from UncertaintySegLib.server.parsing import parse, parse_all, tolerant
from UncertaintySegLib.server.sizes import ML

APPROVED, FLAGGED, TO_REVIEW = "approved", "flagged", ""
"""Statuses of a label, as MONAILabelReviewer writes them."""
LEVELS = ("", "easy", "medium", "hard")
"""How hard a case is to segment, in the same words."""


@dataclass(frozen=True)
class LabelReview:
    """What a reviewer said of a label; `verified` is False where the name is what the client called itself."""

    status: str = TO_REVIEW
    level: str = ""
    comment: str = ""
    approved_by: str = ""
    edit_time: float = 0.0
    verified: bool = False


@dataclass(frozen=True)
class FinalLabel:
    """The final label of a case: its version, who made it and when (seconds since 1970), whether that is who asks."""

    version: int
    made_by: str = ""
    mine: bool = False
    time: float = 0.0
    review: LabelReview | None = None


@dataclass(frozen=True)
class LabelVersion:
    """One state of a label; `counts` says whether it is the label of the case now."""

    id: int
    tag: str
    made_by: str = ""
    source: str = ""
    time: float = 0.0
    seconds: float | None = None
    model: str | None = None
    counts: bool = False
    review: LabelReview | None = None
    looked_at: LookedAt | None = None


@dataclass(frozen=True)
class StructureChange:
    """One structure in two versions: Dice, and its size in the one and in the other."""

    id: int
    name: str
    dice: float
    ml: tuple[float, float]


@dataclass(frozen=True)
class Place:
    """Where two labels differ, or readers disagree. `kind` is "border", "missed" or "extra", as seen from the first."""

    rank: int
    structure: str
    ras_mm: tuple[float, float, float]
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]]
    volume_ml: float
    expected_error_ml: float = 0.0
    kind: str = "border"


@dataclass(frozen=True)
class VersionComparison:
    """How a version differs from another."""

    version: int
    to: int
    changed_ml: float
    structures: tuple[StructureChange, ...] = ()
    regions: tuple[Place, ...] = ()
    size_unit: str = ML


@dataclass(frozen=True)
class Reading:
    """The newest final label of one person."""

    reader: str
    version: int


@dataclass(frozen=True)
class Readings:
    """Several people's labels of a case, and where they differ; `reason` says why nothing is compared.

    `maps` is as the wire has it: how to fetch and read each map, by name.
    """

    readers: tuple[Reading, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    differing_ml: float | None = None
    regions: tuple[Place, ...] = ()
    size_unit: str = ML


@tolerant
def parse_final(data: dict[str, Any]) -> FinalLabel | None:
    """Make the `FinalLabel` of a row of cases; None where it has none."""
    final = data.get("final")
    return parse(FinalLabel, final, review=_review(final)) if final else None


@tolerant
def parse_versions(data: dict[str, Any]) -> list[LabelVersion]:
    """Read the answer of `GET .../versions`, oldest first."""
    return [parse(LabelVersion, row, review=_review(row), looked_at=parse_looked_at(row)) for row in data["versions"]]


@tolerant
def parse_comparison(data: dict[str, Any]) -> VersionComparison:
    """Read the answer of `GET .../compare`."""
    rows, places = parse_all(StructureChange, data["structures"]), parse_all(Place, data.get("regions"))
    return parse(VersionComparison, data, structures=rows, regions=places)


@tolerant
def parse_readings(data: dict[str, Any]) -> Readings:
    """Read the answer of `GET .../readers`."""
    readers, places = parse_all(Reading, data.get("readers")), parse_all(Place, data.get("regions"))
    return parse(Readings, data, readers=readers, regions=places)


def _review(data: dict[str, Any]) -> LabelReview | None:
    return parse(LabelReview, data["review"]) if data.get("review") else None
