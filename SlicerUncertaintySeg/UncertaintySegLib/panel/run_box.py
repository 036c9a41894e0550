"""How a model is run: method, settings, structures and region; what the server does not offer is not shown."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.errors import UncertaintySegError
from UncertaintySegLib.logic.run_choice import RunChoice
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.structures import FEW
from UncertaintySegLib.panel import option_widgets, text_colors
from UncertaintySegLib.panel.prompt_box import PromptBox
from UncertaintySegLib.panel.widgets import contains, fill
from UncertaintySegLib.scene.region_of_interest import RegionOfInterest
from UncertaintySegLib.server.choices import Method, RunOption
from UncertaintySegLib.server.replies import Model

_ROW_HEIGHT = 20  # pixels
_AS_IT_IS = ""


class RunBox:
    """The widgets between the model and the button that runs it.

    Args:
        ui: Widgets of Segment.ui.
        session: Whose case the region of interest lies on.
        choice: Remembers what is chosen.
        region: The box that a run may be confined to.
    """

    def __init__(self, ui, session: Session, choice: RunChoice, region: RegionOfInterest) -> None:
        self.ui, self.session, self.choice, self.region = ui, session, choice, region
        self.prompts = PromptBox(ui, session)
        self._model: Model | None = None
        self._shown: Method | None = None
        self._names: list[str] = []
        self._filling = False
        self._problems: dict[RunOption, str] = {}
        self._rows: list[tuple[RunOption, tuple[qt.QWidget, ...]]] = []
        text_colors.style(ui.optionsLabel, text_colors.ERROR)
        table = ui.structuresTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Label"), _("Structure")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.itemChanged.connect(self._on_structure)
        ui.methodComboBox.currentIndexChanged.connect(self._on_method)
        ui.structuresFilterLineEdit.textChanged.connect(lambda *_arguments: self._filter())
        ui.allStructuresButton.clicked.connect(lambda *_arguments: self._tick_shown(True))
        ui.noStructuresButton.clicked.connect(lambda *_arguments: self._tick_shown(False))
        ui.regionCheckBox.toggled.connect(self._on_region)
        for signal in (session.case_opened, session.case_closed):
            signal.connect(self._on_case)

    def show(self, model: Model | None) -> None:
        """Show what may be chosen for a model; the same one again costs nothing."""
        self.ui.regionCheckBox.setEnabled(self.session.state.sample is not None)
        self.ui.structuresFilterLineEdit.setVisible(len(self._names) > FEW)
        if model is self._model:
            return
        self._model = model
        ui, methods = self.ui, model.methods if model else ()
        offered = model is not None and bool(model.head)
        ui.runGroupBox.setVisible(offered)
        self.prompts.offer(model if offered else None)
        if not offered:
            self._problems.clear()
            ui.regionCheckBox.setChecked(False)
            return
        chosen = self.choice.method(model)
        texts = {_AS_IT_IS: _("once, as it is"), **{method.name: _method_text(method) for method in methods}}
        fill(ui.methodComboBox, texts, chosen.name if chosen else _AS_IT_IS)
        self._show_method(chosen)
        self._show_structures(model)

    def _show_method(self, method: Method | None) -> None:
        ui, model = self.ui, self._model
        self._shown = method
        ui.methodLabel.setText(_about(method))
        layout = ui.optionsWidget.layout()
        while layout.count():
            old = layout.takeAt(0).widget()
            old.hide()  # it goes only when Qt has nothing else to do
            old.deleteLater()
        rows = [*((option, None) for option in model.run_options)]
        rows += [(option, method) for option in method.options] if method else []
        self._rows = []
        for row, (option, owner) in enumerate(rows):
            widget = option_widgets.make(
                option,
                self.choice.value(model, option, owner),
                partial(self._keep, option, owner),
                partial(self._complain, option),
            )
            label = qt.QLabel(option_widgets.title(option) + ":")
            label.setToolTip(widget.toolTip)
            layout.addWidget(label, row, 0)
            layout.addWidget(widget, row, 1)
            if owner is None:
                self._rows.append((option, (label, widget)))
        self._show_what_counts()
        ui.optionsWidget.setVisible(bool(rows))
        self._problems.clear()
        ui.optionsLabel.setVisible(False)

    def _keep(self, option: RunOption, method: Method | None, value: Any) -> None:
        self.choice.choose_value(self._model, option, value, method)
        self._show_what_counts()

    def _show_what_counts(self) -> None:
        """Hide the settings that change nothing as the others stand."""
        values = self.choice.values(self._model)
        for option, widgets in self._rows:
            for widget in widgets:
                widget.setVisible(option.counts(values))

    def _complain(self, option: RunOption, problem: str) -> None:
        """Say at the settings what cannot be sent, of the first of them; nothing runs until it is mended."""
        others = {other: text for other, text in self._problems.items() if other is not option}
        self._problems = {**others, option: problem} if problem else others
        self.ui.optionsLabel.setText(self._problem)
        self.ui.optionsLabel.setVisible(bool(self._problem))

    @property
    def _problem(self) -> str:
        return next(iter(self._problems.values()), "")

    def _show_structures(self, model: Model) -> None:
        table, wanted = self.ui.structuresTable, set(self.choice.structures(model))
        self._names = [label.name for label in model.labels]
        self._filling = True
        table.setRowCount(len(model.labels))
        for row, label in enumerate(model.labels):
            number = qt.QTableWidgetItem(str(label.id))
            number.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            number.setFlags(qt.Qt.ItemIsEnabled)
            name = qt.QTableWidgetItem(label.name)
            name.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            name.setCheckState(qt.Qt.Checked if label.name in wanted else qt.Qt.Unchecked)
            table.setItem(row, 0, number)
            table.setItem(row, 1, name)
        self._filling = False
        self.ui.structuresFilterLineEdit.setVisible(len(self._names) > FEW)
        self._filter()
        self._count()

    def _ticked(self) -> list[str]:
        table = self.ui.structuresTable
        rows = range(len(self._names))
        return [self._names[row] for row in rows if table.item(row, 1).checkState() == qt.Qt.Checked]

    def _on_structure(self, *_item) -> None:
        if self._filling or self._model is None:
            return
        self.choice.choose_structures(self._model, self._ticked() or self._names)
        self._count()

    def _tick_shown(self, ticked: bool) -> None:
        table, self._filling = self.ui.structuresTable, True
        for row in range(len(self._names)):
            if not table.isRowHidden(row):
                table.item(row, 1).setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
        self._filling = False
        self._on_structure()

    def _count(self) -> None:
        count, total = len(self._ticked()), len(self._names)
        if not count:
            text = _("No structure is ticked, so all {total} get maps, regions and rows.")
        elif count == total:
            text = _("All {total} structures get maps, regions and rows.")
        else:
            text = _("{count} of {total} structures get maps, regions and rows; the label has all of them.")
        self.ui.structuresLabel.setText(text.format(count=count, total=total))

    def _filter(self) -> None:
        for row, name in enumerate(self._names):
            self.ui.structuresTable.setRowHidden(row, not contains(name, self.ui.structuresFilterLineEdit.text))

    def _on_method(self, *_index) -> None:
        place = self.ui.methodComboBox.currentIndex
        if self._model is None or place < 0:
            return
        self.choice.choose_method(self._model, [_AS_IT_IS, *(m.name for m in self._model.methods)][place])
        self._show_method(self.choice.method(self._model))

    def _on_region(self, wanted: bool) -> None:
        scene = self.session.scene
        if wanted and scene.scan is not None and scene.scan.GetScene() is scene.scene:
            self.region.show(scene.case, scene.scan)
        else:
            self.region.hide()

    def _on_case(self) -> None:
        self.region.remove()
        self.ui.regionCheckBox.setChecked(False)

    def params(self, model: Model, confined: bool) -> dict[str, Any]:
        """Return what the server is told with a run.

        Args:
            model: What runs.
            confined: Whether to the structures and the region that were chosen, with points; else on all of both.

        Raises:
            UncertaintySegError: A setting cannot be sent as it stands, or the region or a point is none of the scan.
        """
        if self._problem:
            raise UncertaintySegError(self._problem)
        told = self.choice.params(model)
        if not confined:
            told.pop("structures", None)
            return told
        if self.ui.regionCheckBox.checked and model.head:
            told["roi"] = self.region.voxels(self.session.scene.scan)
        return told | self.prompts.params()


def _method_text(method: Method) -> str:
    return method.name.replace("_", " ")


def _about(method: Method | None) -> str:
    if method is None:
        return _("The network runs once; its head says where it is unsure.")
    text = _(
        "{summary}. The network runs {passes} times, unless a setting changes that; calibration and promise hold only "
        "for the model as it is."
    )
    return text.format(summary=method.summary[:1].upper() + method.summary[1:], passes=method.passes)
