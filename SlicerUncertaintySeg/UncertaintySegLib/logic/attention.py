"""What somebody looked at before a label goes to the server: quick approval invites automation bias."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic.places import same_place
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import navigation
from UncertaintySegLib.server.results import Region

SEEN_SECONDS = 1.0
"""How long a region must be in the slice of a view to count as looked at; one that somebody goes to counts at once."""
IDLE_SECONDS = 180.0
"""Time counts until so long after the last move of a view, of the crosshair, click, stroke or decision."""


class Attention:
    """Counts which regions of the open case were looked at, and the seconds at work on it.

    A timer must call `tick` about twice a second.

    Args:
        session: Whose case it is.
        clock: Seconds; another one for tests.
    """

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self.session, self._clock = session, clock
        self._since: dict[int, float] = {}  # when each region of the result came into view, by its place in the list
        self._regions: tuple[Region, ...] = ()
        self._stamp: object = None
        self._last = self._active = clock()
        session.case_opened.connect(self._begin)

    def tick(self) -> None:
        """Look at what the views show now."""
        state, now = self.session.state, self._clock()
        if state.sample is None:
            return
        stamp = (navigation.views_stamp(self.session.scene.scene), len(self.session.history.done))
        if stamp != self._stamp:
            self._stamp, self._active = stamp, now
        idle_from = self._active + IDLE_SECONDS
        state.seconds_active += max(0.0, min(now, idle_from) - min(self._last, idle_from))
        self._last = now
        if now <= idle_from:
            self._see(now)

    def summary(self) -> dict[str, Any]:
        """Return what the server is told with a label, see `wire.LookedAt`."""
        self.tick()
        state, (regions, seen) = self.session.state, self._counts()
        decided = len(state.accepted) + state.dismissed
        regions, seen = max(regions, decided), max(seen, decided)  # nobody decides what they have not looked at
        return {
            "seconds": round(state.seconds_active, 1), "regions": regions, "seen": seen,
            "not_looked_at": regions - seen, "accepted": len(state.accepted), "dismissed": state.dismissed,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """What was not looked at, in a sentence; empty where nothing is left."""
        regions, seen = self._counts()
        left = regions - seen
        one, more = _("1 of {regions} regions was not looked at."), _("{left} of {regions} regions were not looked at.")
        return (one if left == 1 else more).format(left=left, regions=regions) if left > 0 else ""

    def _begin(self) -> None:
        self._since, self._stamp = {}, None
        self._last = self._active = self._clock()

    def _counts(self) -> tuple[int, int]:
        """Return how many regions there are to look at, and how many were: those that are gone only if they were."""
        state = self.session.state
        present = state.result.regions if state.result is not None else ()
        seen = sum(any(same_place(place, region) for place in state.seen) for region in present)
        gone = sum(not any(same_place(place, region) for region in present) for place in state.seen)
        return len(present) + gone, seen + gone

    def _see(self, now: float) -> None:
        state, scene = self.session.state, self.session.scene
        regions = state.result.regions if state.result is not None else ()
        if regions is not self._regions:
            self._regions, self._since = regions, {}
        there = scene.scan is not None and scene.scan.GetScene() is scene.scene
        shown = navigation.are_shown(scene.scan, [region.ras_mm for region in regions]) if there and regions else ()
        self._since = {place: self._since.get(place, now) for place, is_shown in enumerate(shown) if is_shown}
        for place, since in self._since.items():
            if now - since >= SEEN_SECONDS:
                state.see(regions[place])
