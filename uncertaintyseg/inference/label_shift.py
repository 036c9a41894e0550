"""How far a head moves the label of its base, as it is kept beside the weights that it was counted with."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from uncertaintyseg.wire import LabelShift


class CountedShift(BaseModel):
    """A label shift on disk, and the checksum of the weights that it was counted with."""

    weights_checksum: str
    shift: LabelShift


def read_shift(path: Path, checksum: str) -> LabelShift | None:
    """The shift in a file; None where nobody counted for the weights of this checksum."""
    try:
        kept = CountedShift.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # it is told, and nothing depends on it
        return None
    return kept.shift if kept.weights_checksum == checksum else None
