"""What numbers the options of passes may be: said once, in their signature, and checked before anything runs."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from uncertaintyseg.errors import InputError

SEED = 2**63 - 1
PASSES = 4096
"""As many as coherent samples; more take days, and tell nothing that these do not."""
LISTED = 100
"""Numbers in an option that lists some, at most."""


@dataclass(frozen=True)
class Range:
    """Stands in the `Annotated` type of an option: a number, or each of a list, from `low` to `high`, both allowed."""

    low: float
    high: float

    def check(self, name: str, value: Any, *, whole: bool) -> None:
        """Raise `InputError` that names the option and the range, unless the value is a number in it."""
        number = isinstance(value, Real) and not isinstance(value, bool) and (isinstance(value, int) or not whole)
        if not (number and self.low <= value <= self.high):
            kind, form = ("whole number", "d") if whole else ("number", "g")
            raise InputError(f"'{name}' is {value!s:.60}: give a {kind} from {self.low:{form}} to {self.high:{form}}.")


def ranges(kind: type) -> dict[str, tuple[Range, bool]]:
    """The range of each numeric option of passes, by name, and whether it takes whole numbers only."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    found = {}
    for name, hint in hints.items():
        if get_origin(hint) is Annotated:
            own, limits = get_args(hint)
            found[name] = (limits, _is_whole(own))
    return found


def check_ranges(kind: type, options: Mapping[str, Any]) -> None:
    """Check the options of passes.

    Args:
        kind: class of the passes.
        options: by name; others than the numeric ones are passed over, as is None where it stands for a default.

    Raises:
        InputError: an option is no number in its range, or lists too many.
    """
    for name, (limits, whole) in ranges(kind).items():
        value = options.get(name)
        if value is None:
            continue
        several = isinstance(value, Sequence) and not isinstance(value, str)
        if several and len(value) > LISTED:
            raise InputError(f"'{name}' lists {len(value)} numbers: give {LISTED} at most.")
        for number in value if several else (value,):
            limits.check(name, number, whole=whole)


def _is_whole(hint: Any) -> bool:
    return hint is int or (get_origin(hint) in (Union, types.UnionType) and int in get_args(hint))
