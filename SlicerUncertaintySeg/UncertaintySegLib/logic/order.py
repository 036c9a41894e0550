"""The one order in which structures and regions are listed, wherever a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TypeVar

Row = TypeVar("Row")


def worst_first(
    rows: Iterable[Row], error_ml: Callable[[Row], float | None] = attrgetter("expected_error_ml")
) -> list[Row]:
    """Return structures or regions, those with the most mL expected to be wrong first.

    Equal ones stay as they come, and those of which it is not known are last. The server lists them in the same order;
    an edited label and a server of another version may not.

    Args:
        rows: What to list.
        error_ml: What is expected to be wrong of a row, or None.
    """
    known = ((row, error_ml(row)) for row in rows)
    return [row for row, _ml in sorted(known, key=lambda pair: (pair[1] is None, -(pair[1] or 0.0)))]
