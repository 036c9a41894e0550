"""Python's collector of cycles kept away while widgets come and go.

It runs in whatever thread happens to make an object, and in a process of xdist there is one that receives the next
tests. PySide6 then deletes timers in that thread and cuts the connections of every panel that is let go, in a table of
its own without a lock, while Qt's thread changes the same table by deleting widgets: one of the two crashes, or each
waits for ever for what the other holds, Python's lock and Qt's. In Slicer no Python thread runs beside Qt.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_away() -> Iterator[None]:
    """No thread begins a collection by itself meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
