"""The other side of `workers`: a process that measures what it is asked to. Nothing heavy is imported at its start."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

from uncertaintyseg.startup import import_monai_lightly


def serve(pipe: Connection) -> None:
    """Take what to do, say that it is understood, and do it with all that comes, until nobody is there to ask.

    Ctrl-C goes to all processes of a terminal; it is the other side's to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_monai_lightly()
    try:
        meaning, work = pipe.recv()
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv(), meaning))
    except (EOFError, OSError):
        return
