"""What the server writes is for its own user, and no line of its log is written by a client."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_OTHERS = 0o007
logger = logging.getLogger(__name__)


def keep_private() -> None:
    """Let new files be for this user only: unless the umask that the process was started with shuts others out."""
    before = os.umask(0o077)
    if before & _OTHERS == _OTHERS:  # 007, say: somebody wants the group to read
        os.umask(before)


def close_to_others(paths: Iterable[Path]) -> None:
    """Take from others what an earlier start, or MONAI Label before ours, gave them of these files and folders."""
    umask = os.umask(0o077)
    os.umask(umask)
    for path in filter(Path.exists, paths):
        if (mode := path.stat().st_mode & 0o777) & umask:
            _change(path, mode & ~umask)


def _change(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:  # somebody else's
        logger.warning("%s: others on this machine may read it (%s)", path, error.strerror)


def log_files() -> list[Path]:
    """The files that this process logs to."""
    loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]
    handlers = [handler for each in loggers for handler in each.handlers]
    return [Path(handler.baseFilename) for handler in handlers if isinstance(handler, logging.FileHandler)]


def log_in_single_lines() -> None:
    """From now on a message is one line of the log whatever is in it, and a traceback is indented."""
    logging.setLogRecordFactory(_Record)


def escaped(text: str) -> str:
    r"""Line breaks, and whatever else is not to be printed, as Python writes it: `\n`, `\x1b`, `\u2028`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Record(logging.LogRecord):
    """A record of which nothing that a client wrote can look like another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:  # formatters take the text that is there already
            lines = logging.Formatter().formatException(self.exc_info).split("\n")
            self.exc_text = textwrap.indent("\n".join(map(escaped, lines)), "    ")

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return escaped(super().getMessage())
