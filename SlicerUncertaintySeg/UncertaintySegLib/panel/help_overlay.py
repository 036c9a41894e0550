"""All keys at a glance, over the views."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import keyboard

_KEY_STYLE = (
    "border: 1px solid palette(mid); border-radius: 3px; padding: 1px 6px;"
    " background: palette(base); color: palette(text)"
)
_BETWEEN_COLUMNS, _BETWEEN_GROUPS, _KEY_WIDTH = 36, 12, 92  # pixels


class HelpOverlay:
    """Comes and goes with the same key, and goes with Esc, too.

    Attributes:
        dialog: What is shown; None while nothing is.
    """

    def __init__(self) -> None:
        self.dialog: qt.QDialog | None = None

    def toggle(self) -> None:
        """Show the keys as they are now, or hide them."""
        if self.dialog is not None:
            self.dialog.close()
            return
        self.dialog = _dialog()
        self.dialog.finished.connect(lambda *_result: self._forget())
        self.dialog.show()

    def renew(self) -> None:
        """Show the keys as they are now, where they are shown."""
        if self.dialog is not None:
            self.toggle()
            self.toggle()

    def close(self) -> None:
        """Hide them."""
        if self.dialog is not None:
            self.dialog.close()

    def _forget(self) -> None:
        self.dialog.deleteLater()
        self.dialog = None


def _dialog() -> qt.QDialog:
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("Keys"))
    columns = qt.QHBoxLayout()
    columns.setSpacing(_BETWEEN_COLUMNS)
    for groups in _in_two_columns():
        column = qt.QVBoxLayout()
        column.setSpacing(_BETWEEN_GROUPS)
        for title, keys in groups:
            column.addLayout(_group(title, keys))
        column.addStretch(1)
        columns.addLayout(column)
    hint = qt.QLabel(_("They work while this module is open and nobody types; change them in Preferences. Esc closes."))
    layout = qt.QVBoxLayout(dialog)
    layout.setContentsMargins(20, 16, 20, 16)
    layout.setSpacing(_BETWEEN_GROUPS)
    layout.addLayout(columns)
    layout.addWidget(hint)
    help_key = next(key for key in keyboard.KEYS if key.name == "help")
    for sequence in help_key.sequences:
        qt.QShortcut(qt.QKeySequence(sequence), dialog).activated.connect(dialog.close)
    return dialog


def _in_two_columns() -> list[list[tuple[str, tuple[keyboard.Key, ...]]]]:
    """Return the groups so that both columns are about as high."""
    groups = list(keyboard.GROUPS.items())
    heights = [1 + len(keys) for _title, keys in groups]
    first = min(range(1, len(groups)), key=lambda count: abs(sum(heights[:count]) - sum(heights[count:])))
    return [groups[:first], groups[first:]]


def _group(title: str, keys: tuple[keyboard.Key, ...]) -> qt.QGridLayout:
    grid = qt.QGridLayout()
    grid.setHorizontalSpacing(10)
    grid.setVerticalSpacing(3)
    grid.setColumnMinimumWidth(0, _KEY_WIDTH)  # so that the texts of the groups begin below one another
    grid.setColumnStretch(1, 1)
    heading = qt.QLabel(title)
    heading.setStyleSheet("font-weight: bold")
    grid.addWidget(heading, 0, 0, 1, 2)
    for row, key in enumerate((key for key in keys if key.sequences), start=1):
        caps = qt.QHBoxLayout()
        caps.setSpacing(4)
        for sequence in key.sequences:
            cap = qt.QLabel(qt.QKeySequence(sequence).toString(qt.QKeySequence.NativeText))
            cap.setStyleSheet(_KEY_STYLE)
            caps.addWidget(cap)
        caps.addStretch(1)
        grid.addLayout(caps, row, 0)
        grid.addWidget(qt.QLabel(key.text), row, 1)
    return grid
