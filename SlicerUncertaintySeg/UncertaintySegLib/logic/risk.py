"""Which risk is seen and where: the maps of a result, fetched when they are wanted, kept to a place, and in 3D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.state import State
from UncertaintySegLib.scene import masks, navigation, nodes, overlay, restriction, segments, volume_rendering
from UncertaintySegLib.scene.surfaces import RiskSurface
from UncertaintySegLib.server.results import InferResult, Structure

EVERYWHERE = ""
_PER_STRUCTURE = ("probability_", "variance_")
_FIRST = ("error_probability", "anomaly")  # what is calibrated, and what a review is about
_SOURCES = ("total", "aleatoric", "epistemic")


@dataclass(frozen=True)
class Measure:
    """Something that a result has a map of; where it has one for each structure, `key` ends in an underscore."""

    key: str
    title: str

    @property
    def per_structure(self) -> bool:
        """Whether there is one map for each structure."""
        return self.key in _PER_STRUCTURE

    def map_name(self, structure: str) -> str:
        """Return the name of the map on the wire."""
        return self.key + structure if self.per_structure else self.key


def measures(state: State) -> list[Measure]:
    """Return what there are maps of: first the probability of an error, then by source, then by structure."""
    names = {structure.name for structure in state.result.structures} if state.result is not None else set()
    found: dict[str, tuple[int, Measure]] = {}
    maps = state.maps
    several = len({info.source for info in maps.values()}) > 1
    for name, info in maps.items():
        prefix = next(
            (prefix for prefix in _PER_STRUCTURE if name[len(prefix) :] in names and name.startswith(prefix)), ""
        )
        key = prefix or name
        if prefix:
            order, title = len(_SOURCES) + 1, overlay.title(f"{prefix}structure", info.unit)
        else:
            known = _SOURCES.index(info.source) if info.source in _SOURCES else len(_SOURCES)
            order, title = -1 if name in _FIRST else known, overlay.title(name, info.unit, info.driven_by)
            title = f"{title}, {info.source}" if several else title
        found.setdefault(key, (order, Measure(key, title)))
    return [measure for _order, measure in sorted(found.values(), key=lambda pair: pair[0])]


def omitted(result: InferResult | None) -> list[tuple[str, str]]:
    """Return what a result has no map of for every structure, as it would be listed, and why."""
    found = result.omitted.items() if result is not None else ()
    return [(overlay.title(name.replace("<structure>", "structure")), reason) for name, reason in found]


class RiskLogic:
    """Shows the maps of the session's result.

    Args:
        session: What all sections share.

    Attributes:
        structure: Name of the structure in question, or empty.
        where: `EVERYWHERE`, or one of the places of `scene.restriction`, about that structure.
        reach_mm: How far around it.
        surface_wanted, glow_wanted: Whether its surface, coloured by risk, and the map as a glow are shown in 3D.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.surface = RiskSurface(session.scene.scene)
        self.structure, self.where, self.reach_mm = "", EVERYWHERE, 5.0
        self.surface_wanted = self.glow_wanted = False
        session.result_changed.connect(self._on_result)
        session.case_opened.connect(self._on_case)
        session.case_closed.connect(self._on_case)

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Those of the result."""
        return self.session.state.result.structures if self.session.state.result else ()

    @property
    def label_id(self) -> int | None:
        """Of the structure in question."""
        return next((row.id for row in self.structures if row.name == self.structure), None)

    def choose(self, name: str | None) -> None:
        """Show a map over the scan, fetched when it is not here yet; None shows the scan alone."""
        scene = self.session.scene
        scene.wanted = name
        if name is None:
            self._show(None)
        else:
            self.session.maps.fetch(name, lambda: self._show(name) if scene.wanted == name else None)

    def set_place(self, where: str, structure: str, reach_mm: float) -> None:
        """Show maps only in a place, see `where`, `structure` and `reach_mm`."""
        self.where, self.structure, self.reach_mm = where, structure, reach_mm
        self._restrict()

    def toggle_map(self) -> None:
        """Hide the map from the views, or show it again."""
        self.session.scene.set_overlay_visible(not self.session.scene.overlay_visible)
        self.session.changed.emit()

    def toggle_outlines(self) -> None:
        """Hide the outlines of the segments, or show them again."""
        segmentation = self._segmentation()
        if segmentation is not None:
            display = nodes.display(segmentation)
            display.SetVisibility2DOutline(not display.GetVisibility2DOutline())
            self.session.changed.emit()

    def show_only(self, label_id: int | None) -> None:
        """Show one structure alone; None, or the one that is alone already, shows all of them."""
        segmentation = self._segmentation()
        if segmentation is None:
            return
        display = nodes.display(segmentation)
        segment_ids = {row.id: masks.segment_of(segmentation, row.id) for row in self.structures}
        shown = {
            key for key, segment_id in segment_ids.items() if segment_id and display.GetSegmentVisibility(segment_id)
        }
        before = display.StartModify()  # the views look once, and not once a segment
        for key, segment_id in segment_ids.items():
            if segment_id:
                display.SetSegmentVisibility(segment_id, label_id is None or shown == {label_id} or key == label_id)
        display.EndModify(before)

    def riskiest_place(self, structure: Structure) -> tuple[float, float, float] | None:
        """Return where in mm (RAS) to look at a structure; None where it is empty.

        That is its worst region, or else the highest place of the shown map in it, or else its middle.
        """
        result, scene, segmentation = self.session.state.result, self.session.scene, self._segmentation()
        for region in worst_first(result.regions) if result else ():
            if region.structure == structure.name:
                return region.ras_mm
        if segmentation is None:
            return None
        mask = masks.structure_mask(segmentation, structure.id, scene.scan)
        return masks.highest_place(mask, scene.scan, scene.maps.get(scene.shown)) if mask.any() else None

    def frame_3d(self) -> bool:
        """Turn the 3D views to the chosen structure, or else to the one that comes first.

        Returns:
            Whether it has a voxel, in a volume; the views stay as they are where it has none.
        """
        scene, segmentation = self.session.scene, self._segmentation()
        if segmentation is None or scene.is_flat:
            return False
        ids = segments.label_ids(segmentation, scene.scan)
        chosen = [self.label_id] if self.label_id else [row.id for row in worst_first(self.structures)]
        box = next((box for box in (masks.box_around(ids == label_id) for label_id in chosen) if box), None)
        if box is None:
            return False
        first, last = [part.start for part in box], [part.stop - 1 for part in box]
        navigation.frame_3d(scene.scene, navigation.corners(scene.scan, navigation.file_box(scene.scan, first, last)))
        return True

    def update_3d(self) -> None:
        """Draw in 3D what is wanted there, of a volume; takes some tenths of a second."""
        scene, risk = self.session.scene, self.session.scene.drawn
        risk = None if scene.is_flat else risk
        if self.glow_wanted and risk is not None:
            volume_rendering.show(risk, scene.threshold(scene.shown), scene.maximum(scene.shown), scene.scale)
        else:
            volume_rendering.clear(scene.scene)
        segmentation = self._segmentation()
        if self.surface_wanted and risk is not None and segmentation is not None:
            label_ids = [self.label_id] if self.label_id else [row.id for row in self.structures]
            found = [masks.segment_of(segmentation, label_id) for label_id in label_ids]
            shown = [segment_id for segment_id in found if segment_id]
            self.surface.show(segmentation, shown, scene.maps[scene.shown], scene.maximum(scene.shown), scene.scale)
        else:
            self.surface.clear()

    def _show(self, name: str | None) -> None:
        self.session.scene.show_map(name)
        self.update_3d()
        self.session.changed.emit()

    def _segmentation(self) -> Any:
        scene = self.session.scene
        return scene.segmentation if scene.is_segmented else None

    def _restrict(self) -> None:
        scene, segmentation = self.session.scene, self._segmentation()
        if self.where == EVERYWHERE or segmentation is None or self.label_id is None:
            scene.restrict(None)
            return
        mask = masks.structure_mask(segmentation, self.label_id, scene.scan)
        scene.restrict(restriction.place(mask, masks.spacing(scene.scan), self.where, self.reach_mm))

    def _on_case(self) -> None:
        self.structure, self.where = "", EVERYWHERE
        self.surface.clear()

    def _on_result(self) -> None:
        scene = self.session.scene
        if self.label_id is None:
            self.structure, self.where = "", EVERYWHERE
        if self.where != EVERYWHERE:
            self._restrict()
        self.update_3d()
        if scene.wanted is not None and scene.wanted not in scene.maps:
            self.choose(scene.wanted)
