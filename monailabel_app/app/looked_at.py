"""What a person looked at before saving a label: checked as it comes, read from what was kept."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

LOOKED_AT = "looked_at"
"""Key in `params` of a save, and in the notes of the label's version."""


def checked_looked_at(told: Any) -> wire.LookedAt | None:
    """Return what a client tells, None where it tells nothing. Raises `InputError` that names the field."""
    if told is None:
        return None
    try:
        return wire.LookedAt.model_validate(told, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (LOOKED_AT, *first["loc"])))
        raise InputError(f"params.{where}: {first['msg']}") from error


def kept_looked_at(info: dict[str, Any]) -> wire.LookedAt | None:
    """Return what is kept with a version; None where nobody said, or another program wrote its notes."""
    try:
        return checked_looked_at(info.get(LOOKED_AT))
    except InputError:
        return None
