"""The table that says which label of the model each segment of a segmentation is."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.intake import match
from UncertaintySegLib.panel.widgets import fill
from UncertaintySegLib.scene import intake_labels
from UncertaintySegLib.scene.intake_labels import Part
from UncertaintySegLib.server.replies import Model

_ROW_HEIGHT = 26  # pixels


class PartsTable:
    """Proposes a label for each segment, which the user can change.

    Args:
        table: A `QTableWidget`.
        label: Says how many segments the model knows, or what is wrong with the segmentation.
        changed: Called after the user has changed a label.
    """

    def __init__(self, table, label, changed: Callable[[], None]) -> None:
        self._table, self._label, self._changed = table, label, changed
        self._parts: list[Part] = []
        self._choices: list[int | None] = []
        self._boxes: list = []
        self._problem = ""
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Label of the model")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        for column in range(2):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)

    @property
    def ready(self) -> bool:
        """Whether at least one segment has a label."""
        return any(self.labels().values())

    def labels(self) -> dict[str, int | None]:
        """Return the chosen label id of each `Part.id`; None for those that the model does not know."""
        return {part.id: self._choices[box.currentIndex] for part, box in zip(self._parts, self._boxes)}

    def show(self, node: slicer.vtkMRMLNode | None, model: Model | None) -> None:
        """Show the segments of a segmentation, each with the label that it seems to be."""
        self._parts, self._problem = [], ""
        if node is not None and model is not None:
            try:
                self._parts = intake_labels.parts(node)
            except SceneError as error:
                self._problem = str(error)
        is_label_map = node is not None and node.IsA("vtkMRMLVolumeNode")
        self._fill(match(self._parts, model.labels, is_label_map) if self._parts else {}, model)
        self._count()

    def _count(self, *_arguments) -> None:
        known = sum(bool(label_id) for label_id in self.labels().values())
        text = _("{known} of {total} segments are labels of the model.")
        counted = text.format(known=known, total=len(self._parts)) if self._parts else ""
        self._label.setText(counted or self._problem or _("Choose a segmentation."))
        self._table.setVisible(bool(self._parts))

    def _on_chosen(self, *_arguments) -> None:
        self._count()
        self._changed()

    def _fill(self, labels: dict[str, int | None], model: Model | None) -> None:
        choices = {None: _("none: shown only"), **({label.id: label.name for label in model.labels} if model else {})}
        self._choices, self._boxes = list(choices), []
        self._table.setRowCount(len(self._parts))
        for row, part in enumerate(self._parts):
            item = qt.QTableWidgetItem(part.name)
            item.setToolTip(part.name)
            self._table.setItem(row, 0, item)
            box = qt.QComboBox()
            box.setToolTip(_("The label of the model that {segment} is.").format(segment=part.name))
            fill(box, choices, labels[part.id])
            self._table.setCellWidget(row, 1, box)
            box.currentIndexChanged.connect(self._on_chosen)
            self._boxes.append(box)
