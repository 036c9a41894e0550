"""Seeing the risk: which map, where and how, what is plausible, in 3D, and the table of structures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.clips import ClipLogic
from UncertaintySegLib.logic.plausible import PlausibleLogic
from UncertaintySegLib.logic.risk import EVERYWHERE, Measure, RiskLogic, measures, omitted
from UncertaintySegLib.logic.structures import numbered
from UncertaintySegLib.panel import legend_picture
from UncertaintySegLib.panel.plausible_box import PlausibleBox
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.structure_table import StructureTable
from UncertaintySegLib.panel.views_bar import ViewsBar
from UncertaintySegLib.panel.widgets import fill, make_searchable, timer
from UncertaintySegLib.scene import nodes, restriction
from UncertaintySegLib.scene.colors import SCALES
from UncertaintySegLib.server.results import Structure

_REST_MILLISECONDS = 300
_SLIDER_STEPS = 100
_LEGEND_WIDTH = 200  # pixels, at least


class RiskSection(Section):
    """What the model doubts, over the scan, in 3D and in numbers."""

    name = "Risk"
    title = _("Risk")

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self.logic = RiskLogic(self.session)
        self.plausible = PlausibleBox(ui, PlausibleLogic(self.logic))
        self.table = StructureTable(
            ui.structuresTable,
            ui.structuresFilterLineEdit,
            self.on_structure_clicked,
            self.on_structure_double_clicked,
        )
        self.views = ViewsBar(ui, self.session, self._steady)
        self.clips = ClipLogic(self.session, lambda: self.logic.structure)  # after the views: it turns them to a frame
        self._measures: list[Measure] = []
        self._shown_result = self._reader_maps = None
        self._shown_map: str | None = None
        self._legend_width = 0
        ui.legendLabel.setVisible(False)
        self._is_reading = self._glow_before = self._is_faced = False
        self.session.case_opened.connect(self.on_case)
        make_searchable(ui.structureComboBox)
        self._fill_choices()
        self._connect()
        # What takes some tenths of a second is done when a slider has come to rest.
        self._rest = timer(_REST_MILLISECONDS, self.logic.update_3d)
        self._place_rest = timer(_REST_MILLISECONDS, self.on_place)
        self._facing = timer(0, self.on_face_3d)  # a 3D view that is new draws before it can be turned

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"map": self.ui.mapCheckBox.click, "outlines": self.ui.outlinesCheckBox.click}

    def enter(self) -> None:
        """Arrange the views as they were when the module was left."""
        self.views.enter()

    def exit(self) -> None:
        """Give the user's own views back."""
        self.plausible.stop()
        self.views.exit()

    def close(self) -> None:
        """Let the timers rest and give the user's own views back."""
        for each in (self._rest, self._place_rest, self._facing):
            each.stop()
        self.plausible.stop()
        self.views.exit()

    def on_map(self, *_arguments) -> None:
        """Show the chosen map; one of a structure where none is chosen takes the first."""
        measure = self._measure()
        if measure is not None and measure.per_structure and not self.logic.structure:
            self.ui.structureComboBox.setCurrentIndex(1)
            return
        self.logic.choose(measure.map_name(self.logic.structure) if measure else None)

    def on_structure(self, *_arguments) -> None:
        """Let maps, place, boundary and surface be about the chosen structure."""
        names = [row.name for row in self.logic.structures]
        place = self.ui.structureComboBox.currentIndex - 1
        self.logic.structure = names[place] if 0 <= place < len(names) else ""
        self.on_place()
        measure = self._measure()
        if measure is not None and measure.per_structure and self.logic.structure:
            self.on_map()
        self.plausible.on_boundary()
        self.clips.follow()
        if self.session.state.read_only:
            self.on_face_3d()
        self._refresh_enabled()

    def on_place(self, *_arguments) -> None:
        """Show the map only in the chosen place."""
        where = self._places()[self.ui.whereComboBox.currentIndex]
        self.logic.set_place(where, self.logic.structure, self.ui.reachSpinBox.value)
        self.logic.update_3d()
        self._refresh_enabled()

    def on_threshold(self, value: float) -> None:
        """Hide the map below a value."""
        self.session.scene.set_threshold(value)
        self._draw_legend()
        if self.logic.glow_wanted:
            self._rest.start()

    def on_opacity(self, value: float) -> None:
        """Make the map more or less opaque."""
        self.session.scene.set_opacity(value)

    def on_scale(self, index: int) -> None:
        """Change the colours of the maps."""
        self.session.scene.set_scale(SCALES[index])
        self._draw_legend()
        self.logic.update_3d()

    def on_three_d(self, checked: bool) -> None:
        """Show in 3D what is chosen, and turn the view to it when it is the first."""
        self.logic.surface_wanted = self.ui.surfaceCheckBox.checked
        self.logic.glow_wanted = self.ui.glowCheckBox.checked
        self.logic.update_3d()
        if checked and self.logic.surface_wanted != self.logic.glow_wanted:
            self.on_face_3d()

    def on_face_3d(self) -> None:
        """Turn the 3D views to the structure in question; where it is empty, to all that there is."""
        if not self.logic.frame_3d():
            _face_all()

    def on_case(self) -> None:
        """Turn the 3D view to what it is to show of another case, as soon as that is there."""
        self._is_faced = False

    def on_structure_clicked(self, structure: Structure) -> None:
        """Look at a structure's riskiest place."""
        place = self.logic.riskiest_place(structure)
        if place is None:
            self.session.say(_("{name} is empty: there is nothing to look at.").format(name=structure.name))
            return
        scene = self.session.scene.scene
        slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *place, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def on_structure_double_clicked(self, structure: Structure) -> None:
        """Show a structure alone, or all of them again."""
        self.logic.show_only(structure.id)

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        state = self.session.state
        if state.result is not self._shown_result or state.reader_maps is not self._reader_maps:
            self._shown_result, self._reader_maps = state.result, state.reader_maps
            self._shown_map = None
            self._fill_result()
        self._follow_wanted()
        self._follow_reading()
        self._refresh_map()
        self.plausible.refresh()
        self._refresh_enabled()
        segmentation = self.session.scene.segmentation
        there = segmentation is not None and segmentation.GetScene() is not None
        outlines = there and nodes.display(segmentation).GetVisibility2DOutline()
        _check(self.ui.outlinesCheckBox, bool(outlines) or not there)
        _check(self.ui.mapCheckBox, self.session.scene.overlay_visible)

    def _follow_reading(self) -> None:
        """Who only looks has the table on top and the risk in 3D, beside the plot."""
        ui, read_only = self.ui, self.session.state.read_only
        if read_only != self._is_reading:
            self._is_reading, self._is_faced = read_only, False
            contents = ui.structuresTable.parentWidget().layout()
            for place, widget in enumerate((ui.structuresFilterLineEdit, ui.structuresTable)):
                contents.removeWidget(widget)
                contents.insertWidget(place if read_only else contents.count(), widget)
            self.views.follow(read_only)
            if read_only:
                self._glow_before = ui.glowCheckBox.checked
            ui.glowCheckBox.setChecked(bool(read_only or self._glow_before))
        wanted = self.logic.glow_wanted or self.logic.surface_wanted
        if wanted and not self._is_faced and self.session.scene.drawn is not None:
            self._is_faced = True
            self._facing.start()

    def _connect(self) -> None:
        ui, scene = self.ui, self.session.scene
        ui.mapComboBox.currentIndexChanged.connect(self.on_map)
        ui.structureComboBox.currentIndexChanged.connect(self.on_structure)
        ui.whereComboBox.currentIndexChanged.connect(self.on_place)
        ui.reachSpinBox.valueChanged.connect(lambda _value: self._place_rest.start())
        ui.thresholdSlider.valueChanged.connect(self.on_threshold)
        ui.opacitySlider.valueChanged.connect(self.on_opacity)
        ui.scaleComboBox.currentIndexChanged.connect(self.on_scale)
        ui.mapCheckBox.clicked.connect(lambda *_checked: self.logic.toggle_map())
        ui.outlinesCheckBox.clicked.connect(lambda *_checked: self.logic.toggle_outlines())
        ui.legendCheckBox.toggled.connect(scene.set_legend_visible)
        for check_box in (ui.surfaceCheckBox, ui.glowCheckBox):
            check_box.toggled.connect(self.on_three_d)

    def _steady(self) -> AbstractContextManager[None]:
        return self.clips.clip.steady()

    def _fill_choices(self) -> None:
        ui = self.ui
        titles = {"heat": _("Heat"), "sea": _("Sea"), "grey": _("Grey")}
        fill(ui.scaleComboBox, {scale: titles[scale] for scale in SCALES})
        texts = (_("everywhere"), _("inside the structure"), _("inside and around it"), _("at its border"))
        fill(ui.whereComboBox, dict(zip(self._places(), texts)))
        ui.opacitySlider.value = self.session.scene.opacity = settings.value("opacity")

    def _places(self) -> tuple[str, ...]:
        return EVERYWHERE, restriction.INSIDE, restriction.NEAR, restriction.BORDER

    def _measure(self) -> Measure | None:
        place = self.ui.mapComboBox.currentIndex - 1
        return self._measures[place] if 0 <= place < len(self._measures) else None

    def _fill_result(self) -> None:
        ui, logic = self.ui, self.logic
        names = {row.name: numbered(row.id, row.name) for row in logic.structures}
        fill(ui.structureComboBox, {"": _("all structures"), **names} if names else {}, logic.structure)
        places = self._places()
        fill(ui.whereComboBox, {place: ui.whereComboBox.itemText(n) for n, place in enumerate(places)}, logic.where)
        self._measures = measures(self.session.state)
        choices = {None: _("none"), **{measure.key: measure.title for measure in self._measures}}
        wanted = self.session.scene.wanted
        chosen = next((m.key for m in self._measures if m.map_name(logic.structure) == wanted), None)
        fill(ui.mapComboBox, choices if self._measures else {}, chosen)
        left_out = "; ".join(f"{title}: {reason}" for title, reason in omitted(self._shown_result))
        ui.omittedLabel.setText(_("Not for every structure. {what}.").format(what=left_out))
        ui.omittedLabel.setVisible(bool(left_out))
        self.table.show(logic.structures, self.session.scene.structure_colors(), self.session.state.size_unit)

    def _follow_wanted(self) -> None:
        """Name the map that another section has put over the scan."""
        chosen, wanted = self._measure(), self.session.scene.wanted
        if wanted is not None and wanted != (chosen and chosen.map_name(self.logic.structure)):
            names = [measure.map_name(self.logic.structure) for measure in self._measures]
            if wanted in names:
                self.ui.mapComboBox.blockSignals(True)
                self.ui.mapComboBox.setCurrentIndex(1 + names.index(wanted))
                self.ui.mapComboBox.blockSignals(False)

    def _refresh_map(self) -> None:
        scene, slider = self.session.scene, self.ui.thresholdSlider
        shown = scene.shown if scene.shown in scene.maps else None
        self.ui.sourceLabel.setText(self._source(shown))
        if shown is None or self.ui.legendLabel.width != self._legend_width:
            self._draw_legend()
        if shown == self._shown_map:
            return
        self._shown_map = shown
        if shown is not None:
            maximum, threshold = scene.maximum(shown), scene.threshold(shown)
            slider.blockSignals(True)
            slider.decimals = max(2, 2 - int(f"{maximum:e}".split("e")[1]))
            slider.minimum, slider.maximum = 0.0, maximum
            slider.singleStep = maximum / _SLIDER_STEPS
            slider.value = threshold
            slider.blockSignals(False)
        self._draw_legend()

    def _draw_legend(self) -> None:
        label, scene = self.ui.legendLabel, self.session.scene
        label.setVisible(scene.shown in scene.maps)
        if scene.shown in scene.maps:
            palette, self._legend_width = label.palette, label.width
            picture = legend_picture.draw(
                scene.threshold(scene.shown), scene.maximum(scene.shown), scene.scale, max(label.width, _LEGEND_WIDTH),
                ink=palette.color(qt.QPalette.WindowText), paper=palette.color(qt.QPalette.Window),
                ratio=label.devicePixelRatioF(),
            )  # fmt: skip
            label.setPixmap(picture)

    def _source(self, shown: str | None) -> str:
        result, reader_maps = self.session.state.result, self.session.state.reader_maps
        if self.session.maps.fetching:
            return _("Fetching the map...")
        if shown in reader_maps:
            return reader_maps[shown].description
        if result is None or shown is None or shown not in result.maps:
            return "" if result is None or result.maps else _("This server gives no risk maps.")
        info, made = result.maps[shown], result.provenance
        sources = {"total": _("Total"), "aleatoric": _("Aleatoric"), "epistemic": _("Epistemic")}
        text = _("{source} uncertainty, {low:g} to {high:.3g} {unit}. Model {model}, head {head}, weights {weights}.")
        said = text.format(
            source=sources.get(info.source, info.source),
            low=info.range[0],
            high=info.range[1],
            unit="" if info.unit == "1" else info.unit,
            model=made.get("model", "-"),
            head=made.get("head", "-"),
            weights=str(made.get("weights_checksum", "-"))[:8],
        ).replace(" .", ".")
        return f"{said} {info.description}".strip()

    def _refresh_enabled(self) -> None:
        ui, logic, scene = self.ui, self.logic, self.session.scene
        has_result, shown = self.session.state.result is not None, scene.shown in scene.maps
        ui.mapComboBox.setEnabled(bool(self._measures))
        ui.structureComboBox.setEnabled(bool(logic.structures))
        ui.whereComboBox.setEnabled(bool(logic.structure))
        ui.reachSpinBox.setEnabled(bool(logic.structure) and logic.where in (restriction.NEAR, restriction.BORDER))
        for widget in (ui.thresholdSlider, ui.opacitySlider, ui.mapCheckBox):
            widget.setEnabled(shown)
        for widget in (ui.surfaceCheckBox, ui.glowCheckBox):
            widget.setEnabled(shown and not scene.is_flat)
        ui.outlinesCheckBox.setEnabled(has_result)


def _check(check_box, checked: bool) -> None:
    check_box.blockSignals(True)
    check_box.setChecked(checked)
    check_box.blockSignals(False)


def _face_all() -> None:
    manager = slicer.app.layoutManager()
    for index in range(manager.threeDViewCount if manager is not None else 0):
        view = manager.threeDWidget(index).threeDView()
        view.resetFocalPoint()
        view.resetCamera()
