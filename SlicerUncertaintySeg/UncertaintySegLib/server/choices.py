"""What a server says may be chosen for a run of a model: passes around it, and settings with their ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from UncertaintySegLib.server.parsing import parse, parse_all

INTEGER, NUMBER, SWITCH, CHOICE = "integer", "number", "switch", "choice"
NUMBERS, CHOICES = "numbers", "choices"
"""Kinds of settings; the plural ones are lists."""
EXAMPLES = "examples"
"""Setting of models that are shown slices: to show them those that were corrected on the server."""
PROMPTED = "prompt_region"
"""Setting of models that are prompted, as SAM: of which structure the region of interest is a box; it offers all."""
_KINDS = (INTEGER, NUMBER, SWITCH, CHOICE, NUMBERS, CHOICES)


@dataclass(frozen=True)
class RunOption:
    """One setting.

    `default` None is the model's own way; `low` and `high`, of a list each, are allowed themselves; a list has `fewest`
    to `most` items, or is the default. A `required` one is sent also where it is the default. `needs` names another
    setting, or name=choice, without which this one changes nothing.
    """

    name: str
    kind: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fewest: int = 0
    most: int | None = None
    text: str = ""
    required: bool = False
    needs: str = ""

    def counts(self, values: Mapping[str, Any]) -> bool:
        """Whether this setting changes anything beside the values of the others, by name."""
        name, _equals, choice = self.needs.partition("=")
        return not name or (values.get(name) == choice if choice else bool(values.get(name)))

    def takes(self, value: Any) -> bool:
        """Whether a value can be sent for this setting."""
        if self.kind not in (NUMBERS, CHOICES):
            return self.takes_one(value)
        if value == self.default:
            return True
        if not isinstance(value, tuple) or len(value) < self.fewest:
            return False
        return (self.most is None or len(value) <= self.most) and all(self.takes_one(each) for each in value)

    def takes_one(self, value: Any) -> bool:
        """Whether a value can be sent, of a list as one of it."""
        if self.kind == SWITCH:
            return isinstance(value, bool)
        if self.kind in (CHOICE, CHOICES):
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int if self.kind == INTEGER else (int, float)):
            return False
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return math.isfinite(value) and low <= value <= high


@dataclass(frozen=True)
class Method:
    """A way to run a model several times, instead of once as it is; `passes` is how often with the defaults."""

    name: str
    summary: str = ""
    passes: int = 1
    options: tuple[RunOption, ...] = ()


def parse_options(rows: list[dict[str, Any]] | None) -> tuple[RunOption, ...]:
    """Make the settings that a server lists; those of a kind that is not known here are left out."""
    return tuple(option for option in parse_all(RunOption, rows) if option.kind in _KINDS and _is_whole(option))


def _is_whole(option: RunOption) -> bool:
    """Whether a setting that is a list has one to begin with."""
    return option.kind not in (NUMBERS, CHOICES) or isinstance(option.default, tuple)


def parse_methods(rows: list[dict[str, Any]] | None) -> tuple[Method, ...]:
    """Make the methods that a server lists."""
    return tuple(parse(Method, row, options=parse_options(row.get("options"))) for row in rows or ())
