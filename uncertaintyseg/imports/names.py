"""Names that come from outside. MONAI evaluates texts that begin with $, @ or %, and names become names of files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_FOREIGN = re.compile(r"[^A-Za-z0-9_ .()+-]+")
_LONGEST = 80


def plain(text: object, fallback: str) -> str:
    """The text in letters, digits and `_ .()+-`, accents taken off; `fallback` where nothing is left of it."""
    ascii_only = unicodedata.normalize("NFKD", str(text)).encode("ascii", "ignore").decode()
    kept = _FOREIGN.sub("_", ascii_only).strip(" ._+-")[:_LONGEST].strip(" ._+-")
    return kept or fallback


def plain_names(texts: Iterable[object], fallback: str) -> list[str]:
    """Plain names that differ from each other, also where a disk knows no capitals; the second "a" is "a (2)".

    Args:
        texts: names as they came.
        fallback: what a name is called of which nothing is left; its place in the row, from 1, is added.
    """
    found: list[str] = []
    taken: set[str] = set()
    for place, text in enumerate(texts, start=1):
        name = base = plain(text, f"{fallback}_{place}")
        again = 2
        while name.casefold() in taken:
            name = f"{base} ({again})"
            again += 1
        taken.add(name.casefold())
        found.append(name)
    return found


def model_name(*texts: object) -> str:
    """A name for a model folder from texts of foreign make: small letters, digits and underscores."""
    words = [re.sub(r"[^a-z0-9]+", "_", plain(text, "").casefold()).strip("_") for text in texts]
    return "_".join(word for word in words if word) or "model"
