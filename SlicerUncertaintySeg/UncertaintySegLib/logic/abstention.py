"""The part of the case that is left to the reviewer, in the views: it follows the working point."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError, UncertaintySegError
from UncertaintySegLib.logic.selection import Selection, chart
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.scene.abstention import Abstention
from UncertaintySegLib.scene.curve_plot import CurvePlot
from UncertaintySegLib.server.replies import RISK
from UncertaintySegLib.server.results import parse_promise


class AbstentionLogic:
    """Keeps overlay, surface and plot at the working point of a selection.

    The map of the error probability is fetched when it is first needed.

    Args:
        session: Whose results are shown.

    Attributes:
        selection: Where on its curve the result stands; call `moved` after moving it.
        overlay, plot: What is in the scene.
        fill, outlines, solid: What of the overlay is wanted: in the slices, as lines there, in 3D.
        changed: After another result came, another promise, or the map.
        bound: Alpha, and delta or None, that somebody wants to be promised, of the results that follow as well; None:
            what the server promises unasked.
        asking: Whether a promise is on its way.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.selection = Selection()
        self.overlay = Abstention(session.scene.scene)
        self.plot = CurvePlot(session.scene.scene)
        self.fill = self.outlines = self.solid = self.asking = False
        self.bound: tuple[float, float | None] | None = None
        self.changed = Signal()
        session.result_changed.connect(self._on_result)
        session.case_opened.connect(self._on_case)
        session.case_closed.connect(self.forget)

    @property
    def fetching(self) -> bool:
        """Whether the map is wanted and on its way."""
        return self._is_wanted and RISK in self.session.maps.fetching

    def ask(self, alpha: float, delta: float | None) -> None:
        """Have another bound promised: at most `alpha` left wrong, on average or with confidence 1 - `delta`."""
        bound, result = (alpha, delta), self.session.state.result
        self.bound = bound
        if result is None or not self.selection.can_ask:
            return

        def arrived(answer: dict[str, Any]) -> None:
            if self.session.state.result is result and self.bound == bound:
                self.asking = False
                self.session.state.promise = parse_promise(answer)
                self._take()
                if self.session.state.review_threshold is not None:
                    self.moved()
                    self.rest()

        def failed(error: Exception) -> None:
            self.asking, self.bound = False, None
            self.session.fail(error)
            self.changed.emit()

        self.asking = True
        arguments = {"result": result.key, "alpha": alpha, "delta": delta}
        self.session.ask("guarantee", arguments, arrived, quiet=True, failed=failed)
        self.changed.emit()

    def moved(self) -> None:
        """Follow where somebody moved the working point; what is slower than slices and plot waits for `rest`."""
        if self.selection.point is not None:
            self.session.state.review_threshold = self.selection.point.threshold
            self._place()

    def rest(self) -> None:
        """Draw the surface where the working point has come to rest, and tell the other sections."""
        if self.outlines or self.solid:
            self._draw_surface()
        self.session.threshold_rested.emit()
        self.session.changed.emit()

    def show(self, *, fill: bool, outlines: bool, solid: bool) -> None:
        """Choose what of the overlay is shown."""
        self.fill, self.outlines, self.solid = fill, outlines, solid
        self._follow()

    def forget(self) -> None:
        """Take everything from the scene, as for another case."""
        self.overlay.clear()
        self.plot.clear()
        self.selection.take(None)
        self.session.state.review_threshold = None
        self.changed.emit()

    def _on_case(self) -> None:
        self.forget()
        self.overlay.prepare(self.session.scene.case)

    @property
    def _is_wanted(self) -> bool:
        return self.selection.point is not None and (self.fill or self.outlines or self.solid)

    def _on_result(self) -> None:
        state, self.asking = self.session.state, False
        self._take()
        known = state.promise is not None and state.result is not None and state.promise.result == state.result.key
        if self.bound is not None and not known:
            self.ask(*self.bound)

    def _take(self) -> None:
        """Stand on the curve of the result, with what is promised of it."""
        try:
            self.selection.take(self.session.state.result, self.session.state.promise)
        except UncertaintySegError as error:
            self.session.fail(error)
        self.plot.draw(chart(self.selection), self.session.scene.case or "")
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        scene, wanted = self.session.scene, self._is_wanted
        if wanted:
            scene.pinned.add(RISK)
        else:
            scene.pinned.discard(RISK)
        risk = scene.maps.get(RISK)
        if wanted and risk is None:
            self.overlay.prepare(scene.case)
            self._fetch()
            return
        if wanted:
            self.overlay.follow(risk)
            self._place()
        self.overlay.show(wanted and self.fill)
        if wanted and (self.outlines or self.solid):
            self._draw_surface()
        else:
            self.overlay.show_surface(outlines=False, solid=False)

    def _place(self) -> None:
        self.overlay.set_threshold(self.selection.point.threshold)
        drawn = chart(self.selection)
        if drawn is not None:
            self.plot.move(drawn.point)

    def _draw_surface(self) -> None:
        self.overlay.update_surface()
        self.overlay.show_surface(outlines=self.outlines, solid=self.solid)

    def _fetch(self) -> None:
        result = self.session.state.result
        if result is not None and RISK in result.maps:
            self.session.maps.fetch(RISK, self._on_map, self._on_failed)
        else:
            self.session.fail(SceneError(_("This model has no map of its error probability: choose another one.")))

    def _on_map(self) -> None:
        self._follow()
        self.changed.emit()

    def _on_failed(self) -> None:
        self.fill = self.outlines = self.solid = False
        self.session.scene.pinned.discard(RISK)
        self.changed.emit()
