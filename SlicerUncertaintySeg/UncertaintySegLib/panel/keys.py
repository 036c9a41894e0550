"""Keys of the main window that do something in the panel while the module is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer

from UncertaintySegLib.logic import keyboard


class Keys:
    """The shortcuts of the panel.

    Args:
        actions: What to do, by the name in `keyboard.KEYS`. A key without an action stays Slicer's.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._shortcuts: list[qt.QShortcut] = []

    def activate(self) -> None:
        """Let the keys work; they are then as they were set last."""
        self.deactivate()
        for key in keyboard.KEYS:
            action = self._actions.get(key.name)
            if action is not None and key.sequence:
                shortcut = qt.QShortcut(qt.QKeySequence(key.sequence), slicer.util.mainWindow())
                shortcut.setAutoRepeat(False)
                shortcut.activated.connect(lambda action=action: _unless_typing(action))
                self._shortcuts.append(shortcut)

    def deactivate(self) -> None:
        """Give the keys back to Slicer."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()


def _unless_typing(action: Callable[[], None]) -> None:
    widget = qt.QApplication.focusWidget()
    kinds = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox")
    if widget is None or not any(widget.inherits(kind) for kind in kinds):
        action()
