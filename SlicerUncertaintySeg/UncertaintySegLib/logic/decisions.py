"""What somebody said of a region: the label is right there, or it stays as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from UncertaintySegLib.logic.places import Box
from UncertaintySegLib.server.results import Region

ACCEPTED, DISMISSED = "accepted", "dismissed"


class Decision(NamedTuple):
    """A region as it was when somebody decided, and which of the two."""

    region: Region
    state: str


def accepted_boxes(decisions: Iterable[Decision]) -> list[Box]:
    """Return where the label was found right: first and last voxel of each place, IJK of the scan's file."""
    return [region.bounding_box for region, state in decisions if state == ACCEPTED]
