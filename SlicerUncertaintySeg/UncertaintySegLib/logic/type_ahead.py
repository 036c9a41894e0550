"""A structure is found by a few letters of its name, or by its label number."""

from __future__ import annotations

from collections.abc import Iterable

from UncertaintySegLib.scene.segments import Structure


def find(structures: Iterable[Structure], typed: str) -> list[Structure]:
    """Return the structures that somebody who types this may mean, the likeliest first; all for an empty text.

    A number stands for a label, whole or the beginning of it. Words may come in any order; case and underscores do not
    count.
    """
    words = _plain(typed).split()
    ranked = [(_rank(structure, words), structure) for structure in structures]
    return [structure for rank, structure in sorted(ranked, key=lambda pair: pair[0]) if rank < _NOT]


_NOT = 5


def _rank(structure: Structure, words: list[str]) -> int:
    """Return how likely a structure is meant: 0 most, `_NOT` not at all."""
    name, number = _plain(structure.name), str(structure.label_id)
    text = " ".join(words)
    if text in (number, name):
        return 0
    if number.startswith(text) and text:
        return 1
    if not all(word in name for word in words):
        return _NOT
    if name.startswith(text):
        return 2
    return 3 if all(f" {word}" in f" {name}" for word in words) else 4


def _plain(text: str) -> str:
    return text.casefold().replace("_", " ").strip()
