"""Two buttons that say what they undo and do again."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.panel.widgets import key_of

_MARGIN = 16  # pixels of a button that are not text


class HistoryButtons:
    """Undo and redo of a section; there is one history for all of them.

    Args:
        undo_button, redo_button: Their widths must not hang on their texts.
        session: Whose history.
    """

    def __init__(self, undo_button, redo_button, session: Session) -> None:
        self._undo_button, self._redo_button, self._history = undo_button, redo_button, session.history
        undo_button.clicked.connect(lambda *_arguments: session.undo())
        redo_button.clicked.connect(lambda *_arguments: session.redo())

    def refresh(self) -> None:
        """Name the steps."""
        last, following = self._history.last, self._history.next
        undo = _("Undo: {what}").format(what=last) if last else _("Undo")
        redo = _("Redo: {what}").format(what=following) if following else _("Redo")
        _name(self._undo_button, undo, "undo", enabled=bool(last))
        _name(self._redo_button, redo, "redo", enabled=bool(following))


def _name(button, text: str, key: str, *, enabled: bool) -> None:
    button.setEnabled(enabled)
    button.setText(button.fontMetrics().elidedText(text, qt.Qt.ElideRight, max(button.width - _MARGIN, 0)))
    button.setToolTip(key_of(text, key))
