"""Names that clients and folders choose and that become file names."""

from __future__ import annotations

import re

from uncertaintyseg.errors import InputError

_FORBIDDEN = frozenset('/\\:*?"<>|')
"""What separates folders, or Windows refuses."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MOST_CHARACTERS, _MOST_BYTES = 128, 200
"""Files get endings, and while they are written a longer name; most systems take 255 bytes."""


def checked_name(kind: str, name: str) -> str:
    """Return `name` if it is safe as a file name on every system: of a scan, a label's tag, an upload.

    Raises:
        InputError: It holds path separators, what Windows refuses or what cannot be printed, does not begin with a
            letter, a digit or _, ends in a space or a dot, is a device of Windows, or is too long.
    """
    is_safe = (
        re.match(r"\w", name)
        and name.isprintable()
        and not _FORBIDDEN & set(name)
        and name[-1] not in " ."
        and len(name) <= _MOST_CHARACTERS
        and len(name.encode()) <= _MOST_BYTES
        and not _DEVICES.fullmatch(name)
    )
    if not is_safe:
        raise InputError(
            f"{name[:200]!r} cannot be used as {kind}: use up to {_MOST_CHARACTERS} characters, beginning with a "
            f"letter, a digit or _, not ending in a space or a dot, without {' '.join(sorted(_FORBIDDEN))}"
        )
    return name
