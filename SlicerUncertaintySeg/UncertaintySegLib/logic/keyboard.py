"""The keys that work while the module is open, and what they do; `shared_keys` says who else has keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.signals import Signal

_AND = "; "  # as Qt separates the keys of a list

TOOLS = (
    *("Paint", "Erase", "Level tracing", "Grow from seeds", "Islands", "Smoothing", "Scissors"),
    *("Threshold", "Draw", "Fill between slices", "Margin", "Logical operators"),
)
"""Effects of the Segment Editor in the order of their buttons."""


@dataclass(frozen=True)
class Key:
    """What a key does: its name, the key before anybody has changed it (or several, as "Z; Y"), and it in words."""

    name: str
    default: str
    text: str

    @property
    def sequence(self) -> str:
        """The key, as Qt writes it, or several; empty for none."""
        return _changed().get(self.name, self.default)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The keys one by one."""
        return tuple(part for part in self.sequence.split(_AND) if part)


def _tool_key(number: int, name: str) -> Key:
    """Return the key of a tool as the Segment Editor has it: 1 to 9 and 0, then the same with Shift."""
    default = f"Shift+{number % 10}" if number > 10 else f"{number % 10}"
    return Key(f"tool_{number}", default, name)


GROUPS: dict[str, tuple[Key, ...]] = {
    _("Case"): (
        Key("connect", "Shift+C", _("Connect to the server")),
        Key("next_case", "Ctrl+N", _("Next case")),
        Key("segment", "Shift+R", _("Segment: run the model")),
        Key("submit", "Shift+S", _("Submit the label and take the next case")),
        Key("approve", "Shift+K", _("Approve the label on the server")),
        Key("flag", "Shift+D", _("Flag the label on the server")),
        Key("report", "Shift+P", _("Write the report")),
    ),
    _("Regions"): (
        Key("next_region", "N", _("Next region")),
        Key("previous_region", "Shift+N", _("Previous region")),
        Key("accept", "K", _("Accept: the label is OK here")),
        Key("dismiss", "D", _("Dismiss: leave it as it is")),
        Key("click", "C", _("Correct by clicks, or stop it")),
    ),
    _("Undo"): (
        Key("undo", "Z; Ctrl+Z", _("Undo the last decision, click or edit")),
        Key("redo", "Y; Ctrl+Y; Ctrl+Shift+Z", _("Do again what was undone")),
    ),
    _("Views"): (
        Key("map", "M", _("Show or hide the map")),
        Key("outlines", "O", _("Show or hide the outlines")),
        Key("threshold_down", "Ctrl+Down", _("Lower the threshold: review more")),
        Key("threshold_up", "Ctrl+Up", _("Raise the threshold: review less")),
        Key("fit", "H", _("Show the whole scan")),
        Key("help", "?", _("Show or hide these keys")),
    ),
    _("Tools"): (
        Key("structure", "J", _("Choose the structure to correct, by name or number")),
        Key("previous_segment", "Q", _("Previous structure")),
        Key("next_segment", "W", _("Next structure")),
        Key("last_tool", "Space", _("The tool before, or none")),
        Key("no_tool", "Esc", _("Put the tool away")),
        *(_tool_key(number, name) for number, name in enumerate(TOOLS, start=1)),
    ),
}
"""All keys by the headings of a list that shows them."""

KEYS: tuple[Key, ...] = tuple(key for group in GROUPS.values() for key in group)


changed = Signal()
"""Something has another key now."""


def join(sequences: Iterable[str]) -> str:
    """Return keys as one text, as `Key.sequence` has them."""
    return _AND.join(sequences)


def change(name: str, sequence: str) -> None:
    """Give something another key, from now on; an empty one for none.

    Raises:
        KeyError: Nothing has that name.
    """
    key = {key.name: key for key in KEYS}[name]
    texts = {**_changed(), key.name: sequence}
    settings.remember("keys", json.dumps({other: text for other, text in texts.items() if text != _default(other)}))
    changed.emit()


def _default(name: str) -> str | None:
    return next((key.default for key in KEYS if key.name == name), None)


def _changed() -> dict[str, str]:
    try:
        stored = json.loads(settings.value("keys") or "{}")
    except ValueError:
        return {}
    return {str(name): str(text) for name, text in stored.items()} if isinstance(stored, dict) else {}
