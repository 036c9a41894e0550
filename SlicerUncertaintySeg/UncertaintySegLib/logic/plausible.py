"""What else the structures may be: how small and how large, and whole other segmentations to leaf through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.risk import RiskLogic
from UncertaintySegLib.scene.boundaries import Boundaries
from UncertaintySegLib.scene.flipbook import FlipBook

_PAGES = 12


class PlausibleLogic:
    """Outlines and a flip-book of what the model finds plausible.

    Args:
        risk: Fetches maps and knows the structure in question.

    Attributes:
        boundary_wanted: Whether the least and the most of the structure in question are outlined.
        levels: The probabilities at which they are, low and high.
        volumes: Of the least and the most, in the unit of the case; None while they are not shown.
        asking: Whether a flip-book is on its way.
    """

    def __init__(self, risk: RiskLogic) -> None:
        self.risk = risk
        self.session = risk.session
        self.boundaries = Boundaries(self.session.scene.scene)
        self.book = FlipBook(self.session.scene.scene)
        self.boundary_wanted, self.levels = False, (0.05, 0.95)
        self.volumes: tuple[float, float] | None = None
        self.asking = False
        self.session.result_changed.connect(self._on_result)
        self.session.case_opened.connect(self._on_case)
        self.session.case_closed.connect(self._on_case)

    @property
    def can_outline(self) -> bool:
        """Whether the result has a probability of the structure in question."""
        result = self.session.state.result
        return result is not None and f"probability_{self.risk.structure}" in result.maps

    def update_boundary(self) -> None:
        """Outline the structure in question, or take the outlines away."""
        self.volumes = None
        name = f"probability_{self.risk.structure}"
        if self.boundary_wanted and self.can_outline:
            self.session.maps.fetch(name, lambda: self._outline(name))
        else:
            self.boundaries.clear()

    def make_book(self) -> None:
        """Ask for plausible segmentations and open the first."""
        base = self.session.state.base
        if base is None or self.asking:
            return

        def arrived(answer: dict[str, Any]) -> None:
            self.asking = False
            scene = self.session.scene
            if self.session.state.base is not base or scene.scan is None or scene.scan.GetScene() is None:
                return
            samples = [(Path(sample["label"]), sample["volumes_ml"]) for sample in answer["samples"]]
            self.book.show(samples, base.labels, scene.scan)
            self.session.changed.emit()

        def failed(error: Exception) -> None:
            self.asking = False
            self.session.fail(error)

        self.asking = True
        arguments = {"result": base.key, "count": _PAGES, "seed": 0}
        self.session.ask("samples", arguments, arrived, quiet=True, failed=failed)
        self.session.changed.emit()

    def page_text(self) -> str:
        """Return which page is open and how large its structures are."""
        if not self.book.count:
            return _("none yet")
        return _("{page} of {count}: {size:.2f} {unit}").format(
            page=self.book.page + 1,
            count=self.book.count,
            size=self.book.volume_ml,
            unit=sizes.shown(self.session.state.size_unit),
        )

    def _outline(self, name: str) -> None:
        scene, label_id = self.session.scene, self.risk.label_id
        if name != f"probability_{self.risk.structure}" or label_id is None:
            return
        color = scene.structure_colors().get(label_id, (1.0, 1.0, 1.0))
        self.volumes = self.boundaries.show(
            self.risk.structure, color, scene.maps[name], self.levels, self.session.state.size_unit
        )
        self.session.changed.emit()

    def _on_result(self) -> None:
        self.update_boundary()
        if self.session.state.result is self.session.state.base:
            self.book.clear()

    def _on_case(self) -> None:
        self.volumes, self.asking = None, False
        self.boundaries.clear()
        self.book.clear()
