"""Keys of the main window that do something in the panel while the module is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import keyboard

_TEXT_FIELDS = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox")
_TICKED = ("QTableWidget", "QListWidget")
_RESTS = "UncertaintySegRests"


class Keys:
    """The shortcuts of the panel.

    Shortcuts that others have put on the main window for the same keys rest while ours work: Qt would let each of them
    have its turn, and those of some extensions stay there when their module is left.

    Args:
        actions: What to do, by the name in `keyboard.KEYS`. A key without an action stays Slicer's.
        say: Gets a sentence for the status line.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]], say: Callable[[str], None]) -> None:
        self._actions, self._say = actions, say
        self._shortcuts: list[qt.QShortcut] = []
        self._is_active = False

    def activate(self) -> None:
        """Let the keys work; they are then as they were set last."""
        self.deactivate()
        self._is_active = True
        keys = [key for key in keyboard.KEYS if key.name in self._actions]
        _rest([sequence for key in keys for sequence in key.sequences])
        for key in keys:
            for sequence in key.sequences:
                self._add(sequence, self._actions[key.name])

    def renew(self) -> None:
        """Let the keys work as they are set now, where they work at all."""
        if self._is_active:
            self.activate()

    def deactivate(self) -> None:
        """Give the keys back to Slicer."""
        self._is_active = False
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()
        for shortcut in _on_main_window():
            if shortcut.property(_RESTS):
                shortcut.setProperty(_RESTS, False)
                shortcut.setEnabled(True)

    def _add(self, sequence: str, action: Callable[[], None]) -> None:
        shortcut = qt.QShortcut(qt.QKeySequence(sequence), slicer.util.mainWindow())
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(lambda: _press(sequence, action))
        shortcut.activatedAmbiguously.connect(lambda: self._press_shared(sequence, action))
        self._shortcuts.append(shortcut)

    def _press_shared(self, sequence: str, action: Callable[[], None]) -> None:
        """Do it although something else in Slicer has the key; Qt leaves it to us which of the two has its turn."""
        _press(sequence, action)
        text = _("Something else in Slicer has the key {key} as well: if it does not always work, choose another one.")
        self._say(text.format(key=sequence))


def _press(sequence: str, action: Callable[[], None]) -> None:
    """Act, unless somebody types; Esc leaves the text field, and Space presses the button or ticks the cell at hand."""
    widget = qt.QApplication.focusWidget()
    if widget is not None and any(widget.inherits(kind) for kind in _TEXT_FIELDS):
        if sequence == "Esc":
            widget.clearFocus()
    elif widget is not None and sequence == "Space" and widget.inherits("QAbstractButton"):
        widget.click()
    elif not (widget is not None and sequence == "Space" and any(map(widget.inherits, _TICKED)) and _tick(widget)):
        action()


def _tick(table) -> bool:
    """Tick the cell at the cursor of a table or a list, or take the tick away; returns whether it has one."""
    item = table.currentItem()
    if item is None or item.data(qt.Qt.CheckStateRole) is None:
        return False
    item.setCheckState(qt.Qt.Unchecked if item.checkState() == qt.Qt.Checked else qt.Qt.Checked)
    return True


def _rest(sequences: Iterable[str]) -> None:
    """Let nobody else on the main window hear some keys."""
    keys = set(sequences)
    for shortcut in _on_main_window():
        if shortcut.enabled and shortcut.key.toString() in keys:
            shortcut.setEnabled(False)
            shortcut.setProperty(_RESTS, True)


def _on_main_window() -> list[qt.QShortcut]:
    return [child for child in slicer.util.mainWindow().children() if child.className() == "QShortcut"]
