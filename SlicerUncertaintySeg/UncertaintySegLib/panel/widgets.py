"""What several sections do with their widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic.session import Session


def may_discard_edits(session: Session) -> bool:
    """Ask before edits are lost; True where there are none."""
    if not session.scene.edited:
        return True
    question = _("Your edits of {case} are not submitted. Discard them?").format(case=session.scene.case)
    return slicer.util.confirmOkCancelDisplay(question)


def fill(combo_box, choices: Mapping[Any, str], preferred: Any = None) -> Any:
    """Replace a combo box's choices without telling anyone.

    Args:
        combo_box: A `QComboBox`.
        choices: Texts by what they stand for.
        preferred: What is chosen, where it is among the choices; else the first one is.

    Returns:
        What is chosen now; None without choices.
    """
    keys = list(choices)
    combo_box.blockSignals(True)
    combo_box.clear()
    combo_box.addItems(list(choices.values()))
    place = keys.index(preferred) if preferred in keys else 0
    combo_box.setCurrentIndex(place if keys else -1)
    combo_box.blockSignals(False)
    return keys[place] if keys else None


def make_searchable(combo_box) -> None:
    """Let a choice be found by typing a part of it; what is none is put back, and keys then work as before."""
    combo_box.setEditable(True)
    combo_box.setInsertPolicy(qt.QComboBox.NoInsert)
    completer = combo_box.completer()
    completer.setCompletionMode(qt.QCompleter.PopupCompletion)
    completer.setFilterMode(qt.Qt.MatchContains)
    completer.setCaseSensitivity(qt.Qt.CaseInsensitive)
    combo_box.lineEdit().editingFinished.connect(
        lambda: combo_box.setEditText(combo_box.itemText(combo_box.currentIndex))
    )
    combo_box.activated.connect(lambda *_choice: combo_box.lineEdit().clearFocus())


def contains(text: str, part: str) -> bool:
    """Return whether somebody who types `part` may mean `text`: case and underscores do not count."""
    return part.strip().casefold().replace("_", " ") in text.casefold().replace("_", " ")


def timer(milliseconds: int, act: Callable[[], None], *, repeat: bool = False):
    """Return a `QTimer`, to be kept by whoever asked: it calls `act` so long after its last `start`, or so often."""
    made = qt.QTimer()
    made.setSingleShot(not repeat)
    made.setInterval(milliseconds)
    made.timeout.connect(act)
    return made
