"""The correction loop: region after region, decided by a key each, or corrected by a click."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.clicks import Clicks
from UncertaintySegLib.logic.corrections import BACKGROUND
from UncertaintySegLib.logic.decisions import ACCEPTED, DISMISSED
from UncertaintySegLib.logic.regions import EDITED, OPEN, Regions
from UncertaintySegLib.logic.structures import numbered
from UncertaintySegLib.panel.history_buttons import HistoryButtons
from UncertaintySegLib.panel.regions_table import RegionsTable
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import color_icon, fill, make_searchable, name_keys
from UncertaintySegLib.scene import navigation
from UncertaintySegLib.scene.clicks import BOX, LASSO, POINTS, STROKE

_BAR_STEPS = 1000


class RegionsSection(Section):
    """Where to look, and clicks that correct what is wrong there."""

    name = "Regions"
    title = _("Regions to correct")

    def setup(self) -> None:
        """Connect the widgets."""
        session, ui = self.session, self.ui
        self.regions, self.clicks = Regions(session), Clicks(session)
        states = {OPEN: "", ACCEPTED: _("accepted"), DISMISSED: _("dismissed"), EDITED: _("edited")}
        self.table = RegionsTable(ui.regionsTable, states, self.regions.select)
        ui.leftBar.setRange(0, _BAR_STEPS)
        ui.previousButton.clicked.connect(lambda *_arguments: self.regions.previous())
        ui.nextButton.clicked.connect(lambda *_arguments: self.regions.next())
        ui.acceptButton.clicked.connect(lambda *_arguments: self.regions.accept())
        ui.dismissButton.clicked.connect(lambda *_arguments: self.regions.dismiss())
        self._history_buttons = HistoryButtons(ui.undoButton, ui.redoButton, session)
        ui.boxCheckBox.toggled.connect(lambda checked: self.regions.show_box(bool(checked)))
        ui.clickButton.clicked.connect(self.on_click_mode)
        make_searchable(ui.structureComboBox)
        ui.structureComboBox.currentIndexChanged.connect(self.on_structure)
        session.structure_chosen.connect(self.on_structure_chosen)
        self._tools = {POINTS: _("Points"), STROKE: _("Scribble"), LASSO: _("Lasso"), BOX: _("Box")}
        fill(ui.toolComboBox, self._tools)
        ui.toolComboBox.currentIndexChanged.connect(self.on_structure)
        ui.removeClicksButton.clicked.connect(lambda *_arguments: self.clicks.remove_all())
        self._labels: list[int] = []
        for part in (self.regions, self.clicks, session.history):
            part.changed.connect(self.refresh)
        name_keys(
            {
                "previous_region": ui.previousButton,
                "next_region": ui.nextButton,
                "accept": ui.acceptButton,
                "dismiss": ui.dismissButton,
                "click": ui.clickButton,
            }
        )
        self.refresh()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what the keys of the correction loop do."""
        return {
            "next_region": self.regions.next,
            "previous_region": self.regions.previous,
            "accept": self.regions.accept,
            "dismiss": self.regions.dismiss,
            "undo": self.session.undo,
            "redo": self.session.redo,
            "click": self.on_click_mode,
            "fit": lambda: navigation.fit(self.session.scene.scan),
        }

    def exit(self) -> None:
        """Leave the mouse to the other module."""
        self.clicks.stop()

    def close(self) -> None:
        """Give the mouse back."""
        self.clicks.close()

    def on_click_mode(self, *_arguments) -> None:
        """Begin to correct by clicks, or stop it."""
        if self.clicks.is_on:
            self.clicks.stop()
        else:
            self.clicks.start()
        self.refresh()

    def on_structure(self, *_arguments) -> None:
        """Say with the next click what is chosen now."""
        place = self.ui.structureComboBox.currentIndex
        label_id = self._labels[place] if 0 <= place < len(self._labels) else BACKGROUND
        self.clicks.choose(label_id, list(self._tools)[max(self.ui.toolComboBox.currentIndex, 0)])

    def on_structure_chosen(self) -> None:
        """Say with the next click what somebody has chosen elsewhere."""
        structure = self.session.state.structure
        if structure in self._labels:
            self.ui.structureComboBox.setCurrentIndex(self._labels.index(structure))

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        ui, regions = self.ui, self.regions
        count, read_only = len(regions.items), self.session.state.read_only
        self.table.show(regions.items, regions.current, self._colors(), self.session.state.size_unit)
        ui.progressLabel.setText(self._progress_text())
        ui.leftBar.setVisible(count > 0)
        done = 1 - regions.left_ml / regions.total_ml if regions.total_ml > 0 else 1.0
        ui.leftBar.setValue(round(_BAR_STEPS * min(max(done, 0.0), 1.0)))
        ui.regionsTable.setVisible(count > 0)
        for button in (ui.previousButton, ui.nextButton, ui.boxCheckBox):
            button.setEnabled(count > 0)
        for button in (ui.acceptButton, ui.dismissButton):
            button.setEnabled(regions.current is not None and not read_only)
        for widget in (ui.acceptButton, ui.dismissButton, ui.undoButton, ui.redoButton, ui.clicksGroup):
            widget.setVisible(not read_only)
        self._history_buttons.refresh()
        self._refresh_clicks()

    def _refresh_clicks(self) -> None:
        ui, clicks = self.ui, self.clicks
        self._fill_structures()
        if clicks.is_on and not clicks.is_possible:
            clicks.stop()
            return
        ui.clicksGroup.setEnabled(clicks.is_possible)
        ui.clickButton.setChecked(clicks.is_on)
        ui.removeClicksButton.setEnabled(clicks.count > 0)
        ui.clickHintLabel.setText(self._click_text())
        ui.clickHintLabel.setVisible(bool(ui.clickHintLabel.text))

    def _progress_text(self) -> str:
        regions = self.regions
        if not regions.items:
            waiting = self.session.state.result is None
            return _("Run a model first: it says where to look.") if waiting else _("The model doubts no region.")
        text = _("{decided} of {count} decided; expected error left {left:.2f} of {total:.2f} {unit}.")
        if regions.left_ml > regions.total_ml:  # the model learned from a click that it knows less than it thought
            text = _(
                "{decided} of {count} decided; expected error left {left:.2f} {unit}, {total:.2f} {unit} at first."
            )
        text = text.format(
            decided=regions.decided,
            count=len(regions.items),
            left=regions.left_ml,
            total=regions.total_ml,
            unit=sizes.shown(self.session.state.size_unit),
        )
        if regions.decided < len(regions.items):
            return text
        return _("{text} All regions are decided: submit.").format(text=text)

    def _click_text(self) -> str:
        clicks = self.clicks
        if clicks.waiting:
            return _("Updating...")
        if clicks.hint:
            return clicks.hint
        if clicks.count and clicks.seconds is not None:
            text = _("Clicks: {count}. The last one took {seconds:.1f} s.")
            return text.format(count=clicks.count, seconds=clicks.seconds)
        return _("Click in a slice where the label is wrong. A right click ends it.") if clicks.is_on else ""

    def _colors(self) -> dict[str, tuple[float, float, float]]:
        base = self.session.state.base
        by_id = self.session.scene.structure_colors() if base is not None else {}
        return {label.name: by_id[label.id] for label in base.labels if label.id in by_id} if base is not None else {}

    def _fill_structures(self) -> None:
        base, combo_box = self.session.state.base, self.ui.structureComboBox
        labels = [] if base is None else [label.id for label in base.labels]
        wanted = [*labels, BACKGROUND] if labels else []
        if wanted != self._labels:
            self._labels = wanted
            names = {label.id: label.name for label in base.labels} if base is not None else {}
            colors = self.session.scene.structure_colors()
            combo_box.blockSignals(True)
            combo_box.clear()
            for label_id in wanted:
                text = numbered(label_id, names.get(label_id, _("background")))
                combo_box.addItem(color_icon(colors.get(label_id)), text)
            combo_box.setCurrentIndex(0 if wanted else -1)
            combo_box.blockSignals(False)
            self.on_structure()
