"""Where several people's labels of the case differ: as a map beside the model's, and as places to look at."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.label_reviews import look_at_place
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.scene import overlay
from UncertaintySegLib.scene.navigation import RegionBox
from UncertaintySegLib.server.label_replies import Place, Readings, parse_readings
from UncertaintySegLib.server.parsing import parse
from UncertaintySegLib.server.results import MapInfo

MAP = "reader_disagreement"


class Readers:
    """Compares the readers of the open case.

    Args:
        session: Whose case it is.

    Attributes:
        readings: What the server said of them; None before it was asked.
        changed: After a change of it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.readings: Readings | None = None
        self.changed = Signal()
        self._box = RegionBox(session.scene.scene)
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)

    @property
    def text(self) -> str:
        """Who is compared, and on how much they differ; or why nobody is."""
        found = self.readings
        if found is None:
            return ""
        names = ", ".join(reading.reader for reading in found.readers)
        if found.reason is not None or not found.readers:
            text = _("Readers are compared where two or more have saved a final label of the case. Here: {names}.")
            said = text.format(names=names or _("nobody"))
        else:
            text = _("{names} differ on {size:.2f} {unit}.")
            said = text.format(names=names, size=found.differing_ml or 0.0, unit=sizes.shown(found.size_unit))
        left_out = [f"{name}: {reason}." for name, reason in found.left_out.items()]
        return " ".join([said, *left_out])

    def compare(self) -> None:
        """Ask where they differ, and lay the map over the scan."""
        session, sample = self.session, self.session.state.sample
        if session.busy or sample is None:
            return

        def done(answer: dict[str, Any]) -> None:
            if session.state.sample is not sample:
                return
            self.readings = parse_readings(answer)
            session.state.reader_maps = {name: parse(MapInfo, info) for name, info in self.readings.maps.items()}
            self.changed.emit()
            session.changed.emit()
            self.show()

        session.ask("readers", {"image": sample.id}, done, stage=_("Comparing the readers"))

    def show(self) -> None:
        """Lay the map over the scan."""
        session = self.session
        if MAP not in session.state.reader_maps:
            return

        def shown() -> None:
            if session.scene.wanted == MAP:
                session.scene.show_map(MAP)
                session.changed.emit()

        session.scene.wanted = MAP
        session.maps.fetch(MAP, shown)

    def go_to(self, place: Place) -> None:
        """Look at a place where they differ."""
        look_at_place(self.session, self._box, place)

    def forget(self) -> None:
        """Let go of the case."""
        self.readings = None
        if self.session.scene.wanted == MAP:
            self.session.scene.wanted = overlay.FIRST_MAP  # another case has no such map
        self._box.hide()
        self.changed.emit()
