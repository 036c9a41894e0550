"""What a client is told names files, and not where the server keeps them.

Messages and answers go through `without_folders` before they leave; the server's own log keeps whole paths.
"""

from __future__ import annotations

import html
import json
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SEPARATOR = r"(?:(?:[/\\]|%2[Ff]|%5[Cc])(?:\.(?=[/\\]))?)+"
_PARTS = re.compile(_SEPARATOR)
_NEW_WORD = r"(?:(?<![\w.~-])|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9a-f]{2}))"
"""Where a path of a single part may begin: `/data` is no folder in `GET /info/data`."""
_END = r"(?![\w-]|\.\w)"
_ENDS_NAME = re.compile(r"[\s\"'`<>|:;,()\[\]{}]|$")
_FOLDERS_BELOW = rf"(?:(?:[^\s/\\%\"'`<>|:;,()\[\]{{}}]|%(?!2[Ff]|5[Cc]))+{_SEPARATOR})*"
_QUOTES = "\"'`"
_IGNORE_CASE = re.IGNORECASE if sys.platform in ("win32", "darwin") else 0
_STUDIES, _OTHER = "the studies folder", "a folder of the server"


class Folders:
    """Takes folders of the server out of texts.

    Of a path below the studies what follows them is left, as the studies list it; of any other path the name of the
    file. A folder is known as it was given and as it is with links followed. It is found with either kind of separator,
    escaped (`repr`, `ascii`, JSON, HTML, per cent), with accents composed or not, and where a text was cut within it.

    Args:
        studies: The folder that a user knows as the studies.
        others: All others, such as those of results, models and temporary files.
    """

    def __init__(self, studies: Iterable[Path], others: Iterable[Path]) -> None:
        named = {text: _OTHER for folder in others for text in _spellings(folder)}
        named |= {text: _STUDIES for folder in studies for text in _spellings(folder)}
        self._named = sorted(named.items(), key=lambda item: -len(item[0]))  # one inside another comes first
        one_of = "|".join(f"({_pattern(text)})" for text, _ in self._named) or "(?!)"
        self._paths = re.compile(rf"(?:{one_of})(?:{_SEPARATOR}({_FOLDERS_BELOW})|{_END})", _IGNORE_CASE)

    def without(self, text: str) -> str:
        """A text with names of files where it has paths of the server."""
        told, at = [], 0
        while match := self._paths.search(text, at):
            name, end = self._name(text, match)
            told += [text[at : match.start()], name]
            at = end
        return self._uncut("".join([*told, text[at:]]))

    def _name(self, text: str, match: re.Match[str]) -> tuple[str, int]:
        """What to say instead of a path, and where in the text that ends."""
        *found, below = match.groups()
        kind = next(kind for (_, kind), group in zip(self._named, found, strict=True) if group is not None)
        if below is None or _ENDS_NAME.match(text, match.end()):
            return kind, match.end()
        if kind == _STUDIES:
            return "", match.start(match.lastindex)
        before = text[: match.start()][-1:]
        closed = text.find(before, match.end()) if before and before in _QUOTES else -1
        if closed < 0:
            return "", match.end()
        inside = text[match.end() : closed].rstrip("\\")
        return _PARTS.split(inside)[-1], match.end() + len(inside)  # folders in quotes may have blanks

    def _uncut(self, text: str) -> str:
        """Without the beginning of a folder at the very end, where somebody cut the text to a length."""
        shown = text.rstrip(f"….{_QUOTES}")
        for folder, _ in self._named:
            first = _PARTS.search(folder, 1)
            start = shown.rfind(folder[: first.end()]) if first else -1
            if start >= 0 and folder.startswith(shown[start:]):
                return f"{text[:start]}…"
        return text


def _spellings(folder: Path) -> set[str]:
    """A folder as texts may have it; none for the root of a disk, which says nothing."""
    places = {folder.absolute(), folder.resolve()}
    found = {str(place) for place in places if place != Path(place.anchor)}
    return {unicodedata.normalize(form, text) for text in found for form in ("NFC", "NFD")} | found


def _pattern(folder: str) -> str:
    first, *parts = (_escaped(part) for part in _PARTS.split(folder.rstrip("/\\")))
    found = _SEPARATOR.join([first, *parts])
    return found if len(parts) > 1 else _NEW_WORD + found


def _escaped(part: str) -> str:
    """Matches a part of a path however its characters were written."""
    return "".join(char if char.isascii() and char.isalnum() else f"(?:{'|'.join(_ways(char))})" for char in part)


def _ways(char: str) -> list[str]:
    url = quote(char, errors=sys.getfilesystemencodeerrors())
    ways = {char, url, url.lower(), html.escape(char), json.dumps(char)[1:-1], ascii(char)[1:-1], f"\\{char}"}
    if not char.isascii():
        ways |= {"?", "\ufffd"}  # where somebody wrote it in ASCII, or read it so
    return [re.escape(way).replace(r"\\", r"\\+") for way in sorted(ways, key=len, reverse=True)]  # escaped twice, too


_known = Folders([], [Path(tempfile.gettempdir()), Path.home()])


def hide(studies: Iterable[Path], others: Iterable[Path]) -> None:
    """Name the folders of this process that no client is to learn, beside the temporary ones and the user's home."""
    global _known  # noqa: PLW0603 - a process serves one studies folder
    _known = Folders(studies, [*others, Path(tempfile.gettempdir()), Path.home()])


def without_folders(text: str) -> str:
    """A message as a client may read it, see `Folders`."""
    return _known.without(text)


def all_without_folders(value: Any) -> Any:
    """The same of all texts in plain JSON, names of fields too."""
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, dict):
        return {without_folders(name): all_without_folders(one) for name, one in value.items()}
    return [all_without_folders(one) for one in value] if isinstance(value, list) else value
