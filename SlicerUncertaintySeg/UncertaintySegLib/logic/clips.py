"""A clip is played, and its areas and the model's doubt are plotted over its frames."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import overlay
from UncertaintySegLib.scene.clip import Clip
from UncertaintySegLib.scene.time_plot import Curves, TimePlot
from UncertaintySegLib.server.replies import RISK
from UncertaintySegLib.server.results import InferResult

_NOTHING = (None, None, "")


class ClipLogic:
    """Follows the case and the map that is shown; of an image or a volume there is nothing.

    Args:
        session: Whose case it is.
        structure: Tells the structure in question, whose area is then plotted alone; empty plots all.

    Attributes:
        clip: Its sequences and browser.
        plot: Its curves.
    """

    def __init__(self, session: Session, structure: Callable[[], str] = lambda: "") -> None:
        self.session, self._structure = session, structure
        self.plot = TimePlot(session.scene.scene)
        self.clip = Clip(session.scene.scene, self.plot.move)
        self._drawn: tuple[InferResult | None, str | None, str] = _NOTHING
        session.case_leaving.connect(self.clear)  # before its nodes go: a browser without them makes others
        session.case_opened.connect(self.follow)
        session.changed.connect(self.follow)

    def clear(self) -> None:
        """Let go of the case."""
        self.clip.clear()
        self.plot.clear()
        self._drawn = _NOTHING

    def follow(self) -> None:
        """Look whether clip, result, map or structure is another one."""
        scene, result = self.session.scene, self.session.state.result
        if not scene.is_clip:
            return
        if not self.clip.is_there:
            self.clip.show(scene.case, scene.scan)
        name = scene.shown if scene.shown in scene.maps else None
        structure = self._structure()
        before, self._drawn = self._drawn, (result, name, structure)
        if result is not before[0] or name != before[1]:
            self.clip.show_map(scene.case, scene.maps.get(name))
        if result is not before[0] or self._drawn[1:] != before[1:]:
            self.plot.draw(curves(self.session, structure), scene.case, self.clip.frame)
            self.plot.show()


def curves(session: Session, structure: str = "") -> Curves | None:
    """Return what is plotted of the clip: its areas, and the map that is shown; None of anything else.

    Args:
        session: Whose case it is.
        structure: Whose area alone; empty for all.
    """
    scene, result = session.scene, session.state.result
    if result is None or result.frames is None:
        return None
    frames, colors = result.frames, scene.structure_colors()
    shown = scene.shown if scene.shown in scene.maps else None
    measure = shown if shown in frames.uncertainty else RISK
    title = _("Uncertainty")
    if measure in result.maps:
        title = overlay.title(measure, result.maps[measure].unit, result.maps[measure].driven_by)
    return Curves(
        areas={name: area for name, area in frames.area.items() if structure in ("", name)},
        colors={row.name: colors[row.id] for row in result.structures if row.id in colors},
        unit=sizes.shown(result.size_unit),
        expected_error=frames.expected_error,
        uncertainty=frames.uncertainty.get(measure, ()),
        uncertainty_title=_("{map}, mean of the frame").format(map=title),
    )
