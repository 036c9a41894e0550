"""What a client says of an upload that its file cannot: that the third axis is time, and that nobody knows mm."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME

AxisSaid = Annotated[
    Literal["time"] | None, Query(description="'time' of a clip, whose frames follow one another along the third axis.")
]
SpacingSaid = Annotated[
    Literal["unknown"] | None, Query(description="'unknown' of what was a picture: sizes are then told in pixels.")
]


def said(axis: str | None, spacing: str | None) -> dict[str, object]:
    """The same as entries of a scan's `meta`; what is not said is as the file has it."""
    return {**({AXIS: TIME} if axis else {}), **({SPACING_KNOWN: False} if spacing else {})}
