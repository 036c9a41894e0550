"""What a plan chose and why, for terminal, page and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST = 12


@dataclass(frozen=True)
class Choice:
    """One thing that was chosen."""

    name: str
    value: str
    why: str
    flag: str | None
    """What to change it with."""


def sizes(values: Sequence[float]) -> str:
    """Numbers of three axes: 1 x 1 x 3.5."""
    return " x ".join(f"{value:.4g}" for value in values)


def listed(names: Sequence[str]) -> str:
    """Names, with commas between; of many the first and how many more."""
    if len(names) <= _LONGEST:
        return ", ".join(names)
    return f"{', '.join(names[:_LONGEST])} and {len(names) - _LONGEST} more"


def gigabytes(count: float) -> str:
    """Bytes in GB."""
    return f"{count / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
