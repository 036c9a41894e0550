"""How a model is run: method, settings, structures and region; what the server does not offer is not shown."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic.run_choice import RunChoice
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.structures import FEW
from UncertaintySegLib.panel.widgets import contains, fill
from UncertaintySegLib.scene.region_of_interest import RegionOfInterest
from UncertaintySegLib.server.choices import CHOICE, INTEGER, SWITCH, Method, RunOption
from UncertaintySegLib.server.replies import Model

_LARGEST = 2**31 - 1  # of a spin box
_DECIMALS = 4
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
        self._model: Model | None = None
        self._shown: Method | None = None
        self._names: list[str] = []
        self._filling = False
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
        if not offered:
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
        for row, (option, owner) in enumerate(rows):
            label = qt.QLabel(option.name.replace("_", " ") + ":")
            widget = self._widget(option, owner)
            for each in (label, widget):
                each.setToolTip(_tooltip(option))
            layout.addWidget(label, row, 0)
            layout.addWidget(widget, row, 1)
        ui.optionsWidget.setVisible(bool(rows))

    def _widget(self, option: RunOption, method: Method | None):
        model, value = self._model, self.choice.value(self._model, option, method)

        def keep(new) -> None:
            self.choice.choose_value(model, option, new, method)

        if option.kind == SWITCH:
            widget = qt.QCheckBox()
            widget.setChecked(bool(value))
            widget.toggled.connect(lambda checked: keep(bool(checked)))
        elif option.kind == CHOICE:
            widget = qt.QComboBox()
            names = [*([] if option.default in option.choices else [option.default]), *option.choices]
            fill(widget, {name: _("the model's own way") if name is None else name for name in names}, value)
            widget.currentIndexChanged.connect(lambda *_index: keep(names[widget.currentIndex]))
        else:
            widget = qt.QSpinBox() if option.kind == INTEGER else qt.QDoubleSpinBox()
            number = int if option.kind == INTEGER else float
            if option.kind != INTEGER:
                widget.setDecimals(_DECIMALS)
                widget.setSingleStep(10.0**-2)
            low = -_LARGEST if option.low is None else option.low
            high = _LARGEST if option.high is None else option.high
            widget.setRange(number(max(low, -_LARGEST)), number(min(high, _LARGEST)))
            widget.setValue(number(value))
            widget.valueChanged.connect(lambda *_value: keep(number(widget.value)))
        widget.objectName = f"{option.name}Option"
        return widget

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
            confined: Whether to the structures and the region that were chosen; else on all of both.

        Raises:
            SceneError: The region is none of the scan.
        """
        told = self.choice.params(model)
        if not confined:
            told.pop("structures", None)
        elif self.ui.regionCheckBox.checked and model.head:
            told["roi"] = self.region.voxels(self.session.scene.scan)
        return told


def _method_text(method: Method) -> str:
    return method.name.replace("_", " ")


def _about(method: Method | None) -> str:
    if method is None:
        return _("The network runs once; its head says where it is unsure.")
    text = _("{summary}. The network runs {passes} times; calibration and promise hold only for the model as it is.")
    return text.format(summary=method.summary[:1].upper() + method.summary[1:], passes=method.passes)


def _tooltip(option: RunOption) -> str:
    if option.low is None or option.high is None:
        return option.text
    text = _("{text} From {low:g} to {high:g}; {default} unless somebody sets it.")
    return text.format(text=option.text, low=option.low, high=option.high, default=option.default).strip()
