"""The places where a label may be wrong, worst first: which are decided, and what may still be wrong then."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.decisions import ACCEPTED, DISMISSED, Decision
from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.logic.places import overlap, same_place
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.undo import Step
from UncertaintySegLib.scene import navigation
from UncertaintySegLib.server.results import InferResult, Region

OPEN, EDITED = "open", "edited"


@dataclass(frozen=True)
class Item:
    """A region and what became of it; `is_present` where the result that is shown has it."""

    region: Region
    state: str
    is_present: bool


class Regions:
    """Goes from region to region and keeps what the user decides.

    The server lists regions anew with every result. A decision holds for the new region that lies where the old one
    lay, and a decided region that the server does not see any more stays in the list. One that was edited is open again
    when the server still doubts it.

    Args:
        session: Whose result has the regions.

    Attributes:
        items: The regions, those with the largest expected error first.
        current: Which of them the views are at; None before the first.
        total_ml: What was expected to be wrong when the case began.
        box_visible: Whether a box shows the region.
        changed: Any of these is another one now.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.items: list[Item] = []
        self.current: int | None = None
        self.total_ml = 0.0
        self.box_visible = True
        self.changed = Signal()
        self._box = navigation.RegionBox(session.scene.scene)
        self._edits: list[tuple[Step, Region]] = []
        self._base: InferResult | None = None
        session.result_changed.connect(self._on_result)
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)
        session.label_restored.connect(self._renew)
        session.history.changed.connect(self._on_history)

    @property
    def decided(self) -> int:
        """How many regions are not open any more."""
        return sum(item.state != OPEN for item in self.items)

    @property
    def left_ml(self) -> float:
        """What is still expected to be wrong: the server's number, less what was accepted since."""
        result = self.session.state.result
        if result is None:
            return 0.0
        accepted = [item for item in self.items if item.is_present and item.state == ACCEPTED]
        return max(0.0, _expected_error(result) - sum(item.region.expected_error_ml for item in accepted))

    def select(self, index: int) -> None:
        """Go to a region, in every view."""
        if not 0 <= index < len(self.items):
            return
        self.current = index
        try:
            self._look()
            self.session.state.see(self.items[index].region)
        except SceneError as error:
            self.session.fail(error)
        self.changed.emit()

    def next(self) -> None:
        """Go one region further."""
        self.select(0 if self.current is None else min(self.current + 1, len(self.items) - 1))

    def previous(self) -> None:
        """Go one region back."""
        self.select(0 if self.current is None else max(self.current - 1, 0))

    def accept(self) -> None:
        """Say that the label is right in this region, and go to the next open one."""
        self._decide(ACCEPTED, _("accept region {number}"))

    def dismiss(self) -> None:
        """Leave this region as it is, and go to the next open one."""
        self._decide(DISMISSED, _("dismiss region {number}"))

    def show_box(self, visible: bool) -> None:
        """Show or hide the box around the region."""
        self.box_visible = visible
        self._show_box()

    def forget(self) -> None:
        """The case is gone."""
        self._base, self._edits = None, []
        self.current = None
        self._renew()

    def _decide(self, state: str, text: str) -> None:
        if self.current is None or self.session.state.read_only or self.session.state.result is None:
            return
        self.session.history.stepping.emit()
        region, before, place = self.items[self.current].region, self.session.state.decisions, self.current
        after = (*(known for known in before if not same_place(known.region, region)), Decision(region, state))
        if after == before:
            self._go_to_open()
            return
        self.session.history.add(
            text.format(number=place + 1),
            lambda: self._set_decisions(before, region),
            lambda: self._set_decisions(after, region),
        )
        self._set_decisions(after, region)
        self.current = place if place < len(self.items) else None
        self._go_to_open()

    def _set_decisions(self, decisions: tuple[Decision, ...], region: Region) -> None:
        state = self.session.state
        accepted, state.decisions = state.accepted, decisions
        self._renew()
        self._point_at(region)
        if state.accepted != accepted:
            self.session.review_wanted.emit()

    def _go_to_open(self) -> None:
        start = self.current or 0
        order = [*range(start, len(self.items)), *range(start)]
        found = next((index for index in order if self.items[index].state == OPEN), None)
        if found is not None:
            self.select(found)
        else:
            self.changed.emit()

    def _on_result(self) -> None:
        state = self.session.state
        if state.base is not self._base:
            self._base, self._edits, self.current = state.base, [], None
            self.total_ml = _expected_error(state.result)
        self._renew()

    def _on_history(self) -> None:
        """What was drawn or clicked in a region makes it an edited one, until it is undone."""
        last = self.session.history.done[-1] if self.session.history.done else None
        if last is not None and last.box is not None and self.current is not None:
            region = self.items[self.current].region
            if not any(step is last for step, _region in self._edits) and overlap(last.box, region.bounding_box):
                self._edits.append((last, region))
        self._renew()

    def _renew(self) -> None:
        before = self.items[self.current].region if self.current is not None and self.items else None
        result = self.session.state.result
        present = result.regions if result is not None and self._base is not None else ()
        self.items = [Item(region, self._state(region), True) for region in present]
        for region in self._known():
            if not any(same_place(item.region, region) for item in self.items):
                self.items.append(Item(region, self._state(region), False))
        self.items = worst_first(self.items, lambda item: item.region.expected_error_ml)
        if before is not None:
            self._point_at(before)
        self._show_box()
        self.changed.emit()

    def _point_at(self, region: Region) -> None:
        places = [index for index, item in enumerate(self.items) if same_place(item.region, region)]
        exact = [index for index in places if self.items[index].region is region]
        if places:
            self.current = (exact or places)[0]
        elif self.current is not None:
            self.current = min(self.current, len(self.items) - 1) if self.items else None

    def _known(self) -> list[Region]:
        return [*(decision.region for decision in self.session.state.decisions), *self._edited()]

    def _edited(self) -> list[Region]:
        done = self.session.history.done
        return [region for step, region in self._edits if any(step is other for other in done)]

    def _state(self, region: Region) -> str:
        for known, state in reversed(self.session.state.decisions):
            if same_place(known, region):
                return state
        return EDITED if any(known is region for known in self._edited()) else OPEN

    def _look(self) -> None:
        scene = self.session.scene
        if scene.scan is None or scene.scan.GetScene() is not scene.scene:
            raise SceneError(_("The scan is no longer in the scene: take the case again."))
        region = self.items[self.current].region
        navigation.look_at(scene.scene, region.ras_mm, navigation.corners(scene.scan, region.bounding_box))
        self._show_box()

    def _show_box(self) -> None:
        scene = self.session.scene
        there = scene.scan is not None and scene.scan.GetScene() is scene.scene
        if self.box_visible and self.current is not None and there:
            region = self.items[self.current].region
            self._box.show(scene.case, navigation.corners(scene.scan, region.bounding_box))
        else:
            self._box.hide()


def _expected_error(result: InferResult) -> float:
    if result.remaining_error_ml is not None:
        return result.remaining_error_ml
    return sum(region.expected_error_ml for region in result.regions)
