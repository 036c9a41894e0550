"""Which structure is which: known names with their codes, and segments of one source onto the labels of another.

Structures are told apart by SNOMED CT code and modifier (the side), then by name: case, underscores, order of words,
side words and what stands in brackets aside. What could be two structures is not guessed, and sides are never swapped.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

LEFT, RIGHT, BOTH = "7771000", "24028007", "51440002"
"""SNOMED CT codes of the modifiers of sides."""

_TABLE = Path(__file__).with_name("anatomy.csv")
_SIDES = dict.fromkeys(("left", "l", "lt", "sinister", "sinistra", "sinistrum"), LEFT) | dict.fromkeys(
    ("right", "r", "rt", "dexter", "dextra", "dextrum"), RIGHT
)
_SAME_WORD = {"vertebrae": "vertebra"}
_EMPTY_WORDS = {"of", "the"}


class Named(Protocol):
    """Anything with a name and, where known, codes; `wire.Label` is one."""

    @property
    def name(self) -> str: ...

    @property
    def snomed(self) -> str | None: ...

    @property
    def modifier(self) -> str | None: ...


class Labelled(Named, Protocol):
    """A structure with the voxel value that stands for it."""

    @property
    def id(self) -> int: ...


@dataclass(frozen=True)
class Part:
    """One segment, or one file of a folder, whose structure is asked for.

    Attributes:
        key: what it is called by who asks.
        name: of the structure, as people wrote it.
        snomed: SNOMED CT code.
        modifier: SNOMED CT code of the side.
    """

    key: str
    name: str
    snomed: str | None = None
    modifier: str | None = None


@dataclass(frozen=True)
class Structure:
    """A row of the table of known structures; `meaning` is the name that SNOMED CT has for the code."""

    name: str
    snomed: str
    meaning: str
    modifier: str | None
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class _Row:
    """A label of which only the name is known."""

    id: int
    name: str
    snomed: None = None
    modifier: None = None


@lru_cache(maxsize=1)
def structures() -> tuple[Structure, ...]:
    """All known structures, in the order of the table."""
    lines = [line for line in _TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(
        Structure(
            row["name"], row["snomed"], row["meaning"], row["modifier"] or None,
            (int(row["red"]), int(row["green"]), int(row["blue"])),
        )
        for row in csv.DictReader(lines)
    )  # fmt: skip


def known(name: str, modifier: str | None = None) -> Structure | None:
    """The structure of a name, by the table's own names, then by SNOMED CT's; None where it is not known."""
    spelling = _spelling(name, modifier)
    return _by_spelling().get(spelling) if spelling else None


def side(item: Named) -> str | None:
    """`LEFT`, `RIGHT` or `BOTH`, by modifier or name; None where neither says, or they contradict each other."""
    spelled = _spelling(item.name, item.modifier)
    return spelled[1] if spelled else None


def match(parts: Iterable[Part], labels: Iterable[Labelled]) -> dict[str, int]:
    """Which label each part is.

    A pair is found by (code, modifier), by (code, side) where a modifier is missing but the name says the side, or by
    name. A code that is missing is taken from the table, if it has the name. A key that two parts or two labels share
    finds nobody; neither does a part whose name and modifier contradict each other.

    Args:
        parts: with different keys.
        labels: of a model.

    Returns:
        Id of the label by key of the part; a part that is left out is none of the labels. No label occurs twice.
    """
    parts, labels = list(parts), list(labels)
    found: dict[str, int] = {}
    for way in (_code, _code_and_side, lambda item: _spelling(item.name, item.modifier)):
        theirs, ours = _unique(parts, way), _unique(labels, way)
        for which in theirs.keys() & ours.keys():
            part, label = theirs[which], ours[which]
            if part.key not in found and label.id not in found.values() and _agree(part, label):
                found[part.key] = label.id
    return found


def match_names(names: Iterable[str], structures: Iterable[str]) -> dict[str, str]:
    """`match` where nothing but names is known: structure by name. One that is written the same is always found."""
    names, structures = list(names), list(structures)
    same = set(names) & set(structures)
    labels = [_Row(number, name) for number, name in enumerate(structures) if name not in same]
    found = match([Part(name, name) for name in names if name not in same], labels)
    return {name: name for name in same} | {name: structures[number] for name, number in found.items()}


def _spelling(name: str, modifier: str | None = None) -> tuple[tuple[str, ...], str | None] | None:
    """Words of a name in order of the alphabet, and its side; None where nothing is left or the sides contradict."""
    aside = re.findall(r"\(([^()]*)\)", name)
    words = _words(re.sub(r"\([^()]*\)", " ", name))
    words += [word for part in aside for word in _words(part) if set(_words(part)) <= _SIDES.keys()]
    sides = {_SIDES[word] for word in words if word in _SIDES}
    written = BOTH if len(sides) == 2 else next(iter(sides), None)
    told = modifier if modifier in (LEFT, RIGHT, BOTH) else None
    rest = sorted(_SAME_WORD.get(word, word) for word in words if word not in _SIDES and word not in _EMPTY_WORDS)
    if not rest or (written and told and written != told):
        return None
    return tuple(rest), written or told


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _code(item: Named) -> tuple[str, str | None] | None:
    """Code and modifier as they stand, or the table's; None where the code leaves the structure open."""
    row = known(item.name, item.modifier) if item.snomed is None else None
    code = (row.snomed, row.modifier) if row else (item.snomed, item.modifier)
    spelled = _spelling(item.name, item.modifier)
    return None if code[0] is None or spelled is None or code in _vague() else code


def _code_and_side(item: Named) -> tuple[str, str | None] | None:
    """As `_code`, with the side of the name where there is no modifier."""
    code, spelled = _code(item), _spelling(item.name, item.modifier)
    if code is None or spelled is None:
        return None
    sided = code[0], code[1] or spelled[1]
    return None if sided in _vague() else sided


def _agree(part: Named, label: Named) -> bool:
    """Whether names do not speak against a pair that was found by its codes."""
    rows = known(part.name, part.modifier), known(label.name, label.modifier)
    if all(rows) and rows[0] != rows[1]:
        return False
    (_, here), (_, there) = _spelling(part.name, part.modifier), _spelling(label.name, label.modifier)
    return here == there or ((here is None or there is None) and label.snomed in _sideless())


def _unique(items: Iterable, way: Callable[[Named], Hashable | None]) -> dict:
    """Items by key, without keys that several share."""
    keyed = [(way(item), item) for item in items]
    times = Counter(key for key, _ in keyed)
    return {key: item for key, item in keyed if key is not None and times[key] == 1}


@lru_cache(maxsize=1)
def _by_spelling() -> dict[tuple, Structure]:
    meanings = [(_spelling(row.meaning, row.modifier), row) for row in structures()]
    times = Counter(spelling for spelling, _ in meanings)
    unique = {spelling: row for spelling, row in meanings if spelling and times[spelling] == 1}
    return unique | {_spelling(row.name, row.modifier): row for row in structures()}


@lru_cache(maxsize=1)
def _vague() -> frozenset[tuple[str, str | None]]:
    """Codes that several structures of the table share, sides included: 'Cyst', 'Vertebra', 'Effusion'."""
    times = Counter((row.snomed, row.modifier) for row in structures())
    return frozenset(code for code, count in times.items() if count > 1)


@lru_cache(maxsize=1)
def _sideless() -> frozenset[str]:
    """Codes that say the side themselves, or of structures that have none: 'Left atrium', 'Liver'."""
    return frozenset(row.snomed for row in structures()) - {row.snomed for row in structures() if row.modifier}
