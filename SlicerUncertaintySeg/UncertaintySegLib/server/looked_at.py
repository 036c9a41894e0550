"""What a person looked at before saving a label, as the server answers it with cases and versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from UncertaintySegLib.server.parsing import parse


@dataclass(frozen=True)
class LookedAt:
    """Seconds at work on a case, and counts of regions: those that were offered, and what became of them."""

    seconds: float
    regions: int
    seen: int
    not_looked_at: int
    accepted: int = 0
    dismissed: int = 0


def parse_looked_at(data: dict[str, Any]) -> LookedAt | None:
    """Make a `LookedAt` from a row of cases or of a label's versions; None where nobody said."""
    return parse(LookedAt, data["looked_at"]) if data.get("looked_at") else None
