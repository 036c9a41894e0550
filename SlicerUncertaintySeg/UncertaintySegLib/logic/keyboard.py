"""The keys that work while the module is open, and what they do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings


@dataclass(frozen=True)
class Key:
    """One key: the name of what it does, what it is before anybody has changed it, and what it does in words."""

    name: str
    default: str
    text: str

    @property
    def sequence(self) -> str:
        """The key, as Qt writes it; empty for none."""
        return _changed().get(self.name, self.default)


KEYS: tuple[Key, ...] = (
    Key("next_region", "N", _("Next region")),
    Key("previous_region", "P", _("Previous region")),
    Key("accept", "A", _("Accept: the label is right here")),
    Key("dismiss", "D", _("Dismiss: leave it as it is")),
    Key("undo", "U", _("Undo the last decision, click or edit")),
    Key("redo", "Shift+U", _("Do again what was undone")),
    Key("click", "C", _("Correct by clicks, or stop it")),
    Key("map", "V", _("Show or hide the map")),
    Key("outlines", "G", _("Show or hide the outlines")),
    Key("threshold_down", "[", _("Lower the threshold: review more")),
    Key("threshold_up", "]", _("Raise the threshold: review less")),
    Key("fit", "F", _("Show the whole scan")),
    Key("next_case", "Shift+N", _("Next case")),
    Key("submit", "Shift+S", _("Submit the label and take the next case")),
)
"""All keys, in the order in which a list shows them."""


def change(name: str, sequence: str) -> None:
    """Give something another key, from the next time that the module is opened; an empty one for none.

    Raises:
        KeyError: Nothing has that name.
    """
    key = {key.name: key for key in KEYS}[name]
    changed = {**_changed(), key.name: sequence}
    settings.remember("keys", json.dumps({other: text for other, text in changed.items() if text != _default(other)}))


def _default(name: str) -> str | None:
    return next((key.default for key in KEYS if key.name == name), None)


def _changed() -> dict[str, str]:
    try:
        stored = json.loads(settings.value("keys") or "{}")
    except ValueError:
        return {}
    return {str(name): str(text) for name, text in stored.items()} if isinstance(stored, dict) else {}
