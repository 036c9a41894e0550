"""What several sections do with their widgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import keyboard
from UncertaintySegLib.logic.session import Session

_KEY, _WITHOUT_KEY = "UncertaintySegKey", "UncertaintySegToolTip"  # properties of a button


def confirm(question: str, yes: str) -> bool:
    """Ask with a button that says what it does, beside Cancel; in Slicer's testing mode nobody is there to be asked."""
    if slicer.app.testingEnabled():
        return True
    box = ctk.ctkMessageBox(slicer.util.mainWindow())
    box.windowTitle = slicer.app.applicationName
    box.text = question
    box.icon = qt.QMessageBox.Question
    box.standardButtons = qt.QMessageBox.Ok | qt.QMessageBox.Cancel
    box.button(qt.QMessageBox.Ok).setText(yes)
    box.deleteLater()
    return box.exec_() == qt.QMessageBox.Ok


def may_leave(session: Session) -> bool:
    """Ask before a case with edits is left, which its draft keeps; True where there are none."""
    if not session.scene.edited:
        return True
    question = _("Your edits of {case} are not submitted. They are offered as a draft when you open it again.")
    return confirm(question.format(case=session.scene.case), _("Keep as draft and go on"))


def may_discard_edits(session: Session) -> bool:
    """Ask before edits are lost to another label of the case; True where there are none."""
    if not session.scene.edited:
        return True
    question = _("Your edits of {case} are not submitted: another label takes their place.")
    return confirm(question.format(case=session.scene.case), _("Discard my edits"))


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


def key_of(text: str, name: str) -> str:
    """Return a tool tip that says which key does the same, see `keyboard.KEYS`."""
    sequence = next(key.sequence for key in keyboard.KEYS if key.name == name)
    return _("{text} Key: {key}").format(text=text, key=sequence) if sequence else text


def name_keys(buttons: Mapping[str, Any]) -> None:
    """Say in the tool tips of buttons which keys do the same; by the names in `keyboard.KEYS`."""
    for name, button in buttons.items():
        button.setProperty(_KEY, name)
        button.setProperty(_WITHOUT_KEY, button.toolTip)
    rename_keys(buttons.values())


def rename_keys(widgets: Iterable[Any]) -> None:
    """Say in the tool tips of those of these widgets that `name_keys` knows which keys do the same now."""
    for widget in widgets:
        if name := widget.property(_KEY):
            widget.setToolTip(key_of(widget.property(_WITHOUT_KEY), name))


def color_icon(color: tuple[float, float, float] | None):
    """Return a `QIcon` of one colour, [0, 1]; grey for none."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(round(255 * part) for part in color or (0.85, 0.85, 0.85))))
    return qt.QIcon(pixmap)


def painted(width: int, height: int, paper: qt.QColor, ratio: float, draw: Callable[[qt.QPainter], None]) -> qt.QPixmap:
    """Return a picture with what `draw` paints on `paper`; `ratio` pixels of the screen for one of `width`."""
    pixmap = qt.QPixmap(round(width * ratio), round(height * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(paper)
    painter = qt.QPainter(pixmap)
    try:
        draw(painter)
    finally:
        painter.end()
    return pixmap
