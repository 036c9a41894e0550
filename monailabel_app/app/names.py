"""Names that clients choose and that become file names."""

from __future__ import annotations

import re

from uncertaintyseg.errors import InputError

_NAME = re.compile(r"\w[\w .+-]{0,127}")


def checked_name(kind: str, name: str) -> str:
    """Return `name` if it is safe as a file name.

    Raises:
        InputError: It holds path separators or control characters, starts with a dot, ends in a space or is too long.
    """
    if not _NAME.fullmatch(name) or name.strip() != name:
        raise InputError(
            f"{name!r} cannot be used as {kind}: use up to 128 letters, digits, spaces and . _ + -, "
            "beginning with a letter or digit"
        )
    return name
