"""Python's collector of cycles kept to Qt's thread.

It runs in whatever thread happens to make an object, and in a process of xdist there is one that receives the next
tests. PySide6 then deletes timers in that thread and cuts the connections of every panel that is let go, in a table of
its own without a lock, while Qt's thread changes the same table by deleting widgets: one of the two crashes, or each
waits for ever for what the other holds, Python's lock and Qt's. In Slicer no Python thread runs beside Qt.
"""

from __future__ import annotations

import gc
import threading

_thread = 0


def keep_to_this_thread() -> None:
    """Let collections that begin in another thread find nothing, also those of `gc.collect()`.

    The next one in this thread finds it, if it is one of all generations.
    """
    global _thread  # noqa: PLW0603
    _thread = threading.get_ident()
    if _spare not in gc.callbacks:
        gc.callbacks.append(_spare)


def _spare(phase: str, _info: dict[str, int]) -> None:
    if threading.get_ident() == _thread:
        return
    if phase == "start":
        gc.freeze()  # out of reach of this collection
    else:
        gc.unfreeze()
