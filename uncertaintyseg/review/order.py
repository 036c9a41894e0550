"""The one order in which structures and places are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TypeVar

Row = TypeVar("Row")


def worst_first(
    rows: Iterable[Row], error_ml: Callable[[Row], float | None] = attrgetter("expected_error_ml")
) -> list[Row]:
    """Structures or regions, those with the most mL expected to be wrong first.

    Equal ones stay as they come, and those of which it is not known are last.

    Args:
        rows: what to list.
        error_ml: what is expected to be wrong of a row, or None.
    """
    known = ((row, error_ml(row)) for row in rows)
    return [row for row, ml in sorted(known, key=lambda pair: (pair[1] is None, -(pair[1] or 0.0)))]
