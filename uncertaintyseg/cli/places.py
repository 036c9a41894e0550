"""Voxels and what they are, as people write them: 20,25,11=liver, or "8,12,6; 20,31,18=liver"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.wire import Label

BACKGROUND = "background"
Said = tuple[int, list[list[float]]]
_COUNTS = {"--click": (1, 1), "--point": (1, 1), "--box": (2, 2), "--lasso": (3, 500)}
_EXAMPLES = {
    "--click": "20,25,11", "--point": "20,25,11", "--box": "8,12,6; 20,31,18", "--lasso": "9,20,11; 14,20,11; 12,26,11",
}  # fmt: skip


def read_place(flag: str, text: str, labels: Sequence[Label]) -> Said:
    """Class id and places `[n][3]` of what a flag says. Raises `InputError` that names the flag."""
    places, equals, name = text.rpartition("=")
    ids = {BACKGROUND: 0, **{item.name: item.id for item in labels}}
    if not equals or name.strip() not in ids:
        raise InputError(f"{flag} {text}: end it with =NAME, one of {', '.join(ids)}.")
    try:
        found = [[float(number) for number in place.split(",")] for place in places.split(";")]
    except ValueError:
        found = []
    fewest, most = _COUNTS.get(flag, (1, 100_000))
    whole = flag == "--lasso" or all(number.is_integer() for place in found for number in place)
    if not (fewest <= len(found) <= most and whole and all(len(place) == 3 for place in found)):
        raise InputError(
            f"{flag} {text}: give voxels as i,j,k from 0, with ; between, such as "
            f'"{_EXAMPLES.get(flag, "15,12,9; 15,13,9")}={name.strip()}".'
        )
    return ids[name.strip()], found
