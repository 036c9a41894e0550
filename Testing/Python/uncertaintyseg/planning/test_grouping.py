"""Problems by kind, for people."""

from __future__ import annotations

import re
from pathlib import Path

import uncertaintyseg.planning
from uncertaintyseg.planning.facts import Problem
from uncertaintyseg.planning.grouping import TITLES, by_kind


def test_errors_come_first_and_cases_are_counted_once():
    problems = [
        Problem("a", "intensity", "x", "warning"),
        Problem("b", "intensity", "y", "warning"),
        Problem("b", "intensity", "z", "warning"),
        Problem(None, "absent", "w", "warning"),
        Problem("c", "duplicate", "v", "warning"),
        Problem("c", "values", "u", "error"),
        Problem("d", "duplicate", "t", "error"),
    ]
    found = [(group.kind, group.severity, group.cases, len(group.problems)) for group in by_kind(problems)]
    assert found == [
        ("values", "error", 1, 1), ("duplicate", "error", 1, 1), ("absent", "warning", 0, 1),
        ("duplicate", "warning", 1, 1), ("intensity", "warning", 2, 3),
    ]  # fmt: skip


def test_every_kind_has_a_title():
    code = "".join(path.read_text(encoding="utf-8") for path in Path(uncertaintyseg.planning.__path__[0]).glob("*.py"))
    kinds = set(re.findall(r"Problem\([\w.]+, \"(\w+)\"", code)) | {"nonfinite", "constant", "spacing", "extent"}
    assert len(kinds) > 12
    assert kinds <= TITLES.keys()
