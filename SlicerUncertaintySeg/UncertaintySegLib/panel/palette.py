"""A list of structures in which one is chosen by typing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic.structures import numbered
from UncertaintySegLib.logic.type_ahead import find
from UncertaintySegLib.panel.widgets import color_icon
from UncertaintySegLib.scene.segments import Structure

_WIDTH, _HEIGHT = 340, 420  # pixels


class Palette:
    """Comes up on top of the window; Up and Down move in it, Enter chooses and Esc does not.

    Args:
        chosen: Gets the structure.

    Attributes:
        dialog, edit, list: The widgets.
    """

    def __init__(self, chosen: Callable[[Structure], None]) -> None:
        self._chosen = chosen
        self._structures: Sequence[Structure] = ()
        self._found: list[Structure] = []
        self._icons: dict[str, qt.QIcon] = {}
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("Choose a structure"))
        self.edit, self.list = qt.QLineEdit(), qt.QListWidget()
        self.edit.setPlaceholderText(_("Some letters of its name, or its label number"))
        self.edit.setClearButtonEnabled(True)
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(qt.Qt.NoFocus)  # the keys go on to the text field
        layout = qt.QVBoxLayout(self.dialog)
        layout.addWidget(self.edit)
        layout.addWidget(self.list)
        self.dialog.resize(_WIDTH, _HEIGHT)
        self.edit.textChanged.connect(lambda *_arguments: self._show())
        self.edit.returnPressed.connect(self._choose)
        self.list.itemClicked.connect(lambda *_arguments: self._choose())
        for key, rows in (("Up", -1), ("Down", 1), ("PgUp", -10), ("PgDown", 10)):
            shortcut = qt.QShortcut(qt.QKeySequence(key), self.dialog)
            shortcut.activated.connect(lambda rows=rows: self._move(rows))

    def open(self, structures: Sequence[Structure], segment_id: str) -> None:
        """Offer structures; the one of this segment is the first choice."""
        self._structures = structures
        self._icons = {structure.segment_id: color_icon(structure.color) for structure in structures}
        self.edit.setText("")
        self._show()
        rows = [row for row, structure in enumerate(self._found) if structure.segment_id == segment_id]
        self.list.setCurrentRow(rows[0] if rows else 0)
        self.dialog.open()
        self.list.scrollToItem(self.list.currentItem(), qt.QAbstractItemView.PositionAtCenter)
        self.edit.setFocus()

    def close(self) -> None:
        """Let go of the dialog."""
        self.dialog.close()
        self.dialog.setParent(None)
        self.dialog.deleteLater()

    def _show(self) -> None:
        self._found = find(self._structures, self.edit.text)
        self.list.clear()
        for structure in self._found:
            text = numbered(structure.label_id, structure.name)
            self.list.addItem(qt.QListWidgetItem(self._icons[structure.segment_id], text))
        self.list.setCurrentRow(0)

    def _move(self, rows: int) -> None:
        if self._found:
            self.list.setCurrentRow(min(max(self.list.currentRow + rows, 0), len(self._found) - 1))

    def _choose(self) -> None:
        row = self.list.currentRow
        if 0 <= row < len(self._found):
            self.dialog.accept()
            self._chosen(self._found[row])
