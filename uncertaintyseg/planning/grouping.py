"""Problems of a data set by their kind, for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from uncertaintyseg.planning.facts import Problem, Severity

TITLES = {
    "cases": "Too few cases",
    "unreadable": "Files that cannot be read",
    "died": "Reading ended the process",
    "memory": "Too large for this computer's memory",
    "grid": "Label or channels on another grid than the scan",
    "channels": "Channels that are missing, too many, or in another order",
    "nonfinite": "Voxels that are no numbers",
    "axes": "Volumes among images and clips",
    "constant": "Scans with the same value everywhere",
    "size": "Scans of a few voxels",
    "values": "Labels with numbers that nobody explained",
    "absent": "Structures that are seldom there, or never",
    "duplicate": "The same scan or label twice",
    "empty": "Labels without a structure",
    "intensity": "Intensities in another unit than the rest",
    "orientation": "Axes that run otherwise than in the rest",
    "spacing": "Voxels of an unusual size",
    "extent": "Scans of an unusual size",
    "volume": "Structures of an unusual volume",
    "unlabelled": "Scans without a label",
    "cache": "What was measured could not be kept",
}
"""What kinds of problems are called."""


@dataclass(frozen=True)
class Group:
    """Problems of one kind and severity, in the order of their cases."""

    kind: str
    title: str
    severity: Severity
    problems: list[Problem]

    @property
    def cases(self) -> int:
        """How many cases have it."""
        return len({problem.case_id for problem in self.problems if problem.case_id is not None})


def by_kind(problems: Iterable[Problem]) -> list[Group]:
    """Group problems: errors first, then in the order of `TITLES`."""
    found: dict[tuple[str, Severity], list[Problem]] = {}
    for problem in problems:
        found.setdefault((problem.kind, problem.severity), []).append(problem)
    order = list(TITLES)
    keys = sorted(found, key=lambda key: (key[1], order.index(key[0]) if key[0] in TITLES else len(order), key[0]))
    return [Group(kind, TITLES.get(kind, kind), severity, found[kind, severity]) for kind, severity in keys]
