"""What a server says may be chosen for a run of a model: passes around it, and settings with their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from UncertaintySegLib.server.parsing import parse, parse_all

INTEGER, NUMBER, SWITCH, CHOICE = "integer", "number", "switch", "choice"


@dataclass(frozen=True)
class RunOption:
    """One setting. `default` None is the model's own way; `low` and `high` are allowed themselves."""

    name: str
    kind: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    text: str = ""

    def takes(self, value: Any) -> bool:
        """Whether a value can be sent for this setting."""
        if self.kind == SWITCH:
            return isinstance(value, bool)
        if self.kind == CHOICE:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.kind == NUMBER else int):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Method:
    """A way to run a model several times, instead of once as it is; `passes` is how often with the defaults."""

    name: str
    summary: str = ""
    passes: int = 1
    options: tuple[RunOption, ...] = ()


def parse_options(rows: list[dict[str, Any]] | None) -> tuple[RunOption, ...]:
    """Make the settings that a server lists; those of a kind that is not known here are left out."""
    return tuple(option for option in parse_all(RunOption, rows) if option.kind in (INTEGER, NUMBER, SWITCH, CHOICE))


def parse_methods(rows: list[dict[str, Any]] | None) -> tuple[Method, ...]:
    """Make the methods that a server lists."""
    return tuple(parse(Method, row, options=parse_options(row.get("options"))) for row in rows or ())
