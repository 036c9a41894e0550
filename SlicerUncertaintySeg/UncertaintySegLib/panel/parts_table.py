"""The table that says which label of the model each segment of a segmentation is."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.matching import Matching, Proposal
from UncertaintySegLib.logic.structures import numbered
from UncertaintySegLib.panel.widgets import contains, fill
from UncertaintySegLib.scene import intake_labels
from UncertaintySegLib.scene.intake_labels import Part
from UncertaintySegLib.server.replies import Model

_ROW_HEIGHT = 26  # pixels
_NAMED = 6  # so many segments that the model does not know are named; the table has the others


class PartsTable:
    """Proposes a label for each segment, which the user can change; those that have one come first.

    Args:
        table: A `QTableWidget`.
        label: Says how many segments the model knows, or what is wrong with the segmentation.
        filter_edit: A `QLineEdit`: only rows with its text are shown.
        matching: Knows which label a segment is.
        changed: Called after a label has changed.
    """

    def __init__(self, table, label, filter_edit, matching: Matching, changed: Callable[[], None]) -> None:
        self._table, self._label, self._filter = table, label, filter_edit
        self._matching, self._changed = matching, changed
        self._parts: list[Part] = []
        self._choices: list[int | None] = []
        self._boxes: list = []
        self._proposal = Proposal({})
        self._problem = ""
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Label of the model")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        for column in range(2):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)
        filter_edit.textChanged.connect(self._on_filter)

    @property
    def ready(self) -> bool:
        """Whether at least one segment has a label."""
        return any(self.labels().values())

    def labels(self) -> dict[str, int | None]:
        """Return the chosen label id of each `Part.id`; None for those that the model does not know."""
        return {part.id: self._choices[box.currentIndex] for part, box in zip(self._parts, self._boxes)}

    def show(self, node: slicer.vtkMRMLNode | None, model: Model | None) -> None:
        """Show the segments of a segmentation, each with the label that it seems to be, once the server has said so."""
        self._matching.forget()
        parts, self._problem = [], ""
        if node is not None and model is not None:
            try:
                parts = intake_labels.parts(node)
            except SceneError as error:
                self._problem = str(error)
        self._fill([], Proposal({}), model)
        if parts:
            self._problem = _("Asking which labels of {model} these {count} segments are...").format(
                model=model.name, count=len(parts)
            )
            self._matching.ask(parts, model, lambda proposal: self._on_proposal(parts, proposal, model))
        self._count()

    def _on_proposal(self, parts: list[Part], proposal: Proposal, model: Model) -> None:
        self._problem = ""
        self._fill(sorted(parts, key=lambda part: not proposal.labels[part.id]), proposal, model)
        self._on_chosen()

    def _count(self) -> None:
        labels = self.labels()
        known = sum(bool(label_id) for label_id in labels.values())
        text = _("{known} of {total} segments are labels of the model.")
        lines = [text.format(known=known, total=len(self._parts)) if self._parts else ""]
        if self._parts and self._proposal.by_number:
            lines.append(_("They have no names: the numbers of their voxels were taken for those of the labels."))
        lines += [self._unknown(labels), self._proposal.problem, self._problem]
        self._label.setText("\n".join(filter(None, lines)) or _("Choose a segmentation."))
        for widget in (self._table, self._filter):
            widget.setVisible(bool(self._parts))

    def _unknown(self, labels: dict[str, int | None]) -> str:
        """Name the segments without a label, and who would know them."""
        unknown = [part for part in self._parts if not labels[part.id]]
        texts = [f"{part.name}: {self._knowing(part)}" if self._knowing(part) else part.name for part in unknown]
        if len(texts) > _NAMED:
            texts = [*texts[:_NAMED], _("{count} more").format(count=len(texts) - _NAMED)]
        return _("Not scored: {names}.").format(names="; ".join(texts)) if texts else ""

    def _knowing(self, part: Part) -> str:
        models = self._proposal.knowing.get(part.id)
        return _("known by {models}").format(models=", ".join(models)) if models else ""

    def _on_chosen(self, *_arguments) -> None:
        self._count()
        self._changed()

    def _on_filter(self, *_arguments) -> None:
        for row, (part, box) in enumerate(zip(self._parts, self._boxes)):
            self._table.setRowHidden(row, not contains(f"{part.name} {box.currentText}", self._filter.text))

    def _fill(self, parts: list[Part], proposal: Proposal, model: Model | None) -> None:
        labels = model.labels if model else ()
        choices = {None: _("none: shown only"), **{label.id: numbered(label.id, label.name) for label in labels}}
        self._parts, self._proposal = parts, proposal
        self._choices, self._boxes = list(choices), []
        self._table.setRowCount(len(parts))
        for row, part in enumerate(parts):
            item = qt.QTableWidgetItem(part.name)
            item.setToolTip("\n".join(filter(None, (part.name, self._knowing(part)))))
            self._table.setItem(row, 0, item)
            box = qt.QComboBox()
            box.setToolTip(_("The label of the model that {segment} is.").format(segment=part.name))
            fill(box, choices, proposal.labels[part.id])
            self._table.setCellWidget(row, 1, box)
            box.currentIndexChanged.connect(self._on_chosen)
            self._boxes.append(box)
        self._on_filter()
