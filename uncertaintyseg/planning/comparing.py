"""What is wrong with a data set, by case, before anything is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uncertaintyseg.planning.facts import CaseFacts, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uncertaintyseg.data.dataset import DataSet

__all__ = ["Problem", "compare"]


def compare(dataset: DataSet, cases: Sequence[CaseFacts]) -> list[Problem]:
    """What is wrong with the cases of a data set, seen beside each other.

    Args:
        dataset: they are of.
        cases: those that were measured.
    """
    known = ", ".join(str(number) for number in sorted({*dataset.values, *(label.id for label in dataset.labels)}))
    return [
        Problem(
            case.id,
            "values",
            f"its label holds {', '.join(map(str, sorted(case.unknown)))}, which no structure has; known are {known}.",
            "error",
        )
        for case in cases
        if case.unknown
    ]
