"""Qt's event loop run as Slicer runs it: the interpreter lock stays held while nothing happens.

PythonQt takes the lock when Slicer starts and gives it away only while Python code runs, so a Python thread that waits
for the network beside an idle Slicer gets no further. PySide6 would give the lock away at every turn of the loop, and a
module that leans on threads would pass its tests here and stall there.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PySide6 import QtCore

PATIENCE = 900.0
"""Seconds; a machine that trains beside has taken minutes for what takes a second."""
_TICK_MS = 10
_FOREVER = 1e6  # s: no thread asks a running one for the lock
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"

hold_lock = sys.platform == "linux" and os.environ.get("SLICER_HOST_HOLD_LOCK", "1") != "0"
"""Whether Python threads stand still while the host idles, as they do in Slicer. Linux only."""


def process_events() -> None:
    """Let Qt handle what has happened."""
    _turn(QtCore.QEventLoop.ProcessEventsFlag.AllEvents)


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Let Qt run until a condition holds, however slow the machine: `seconds` only end what hangs.

    Raises:
        TimeoutError: If it does not hold in time.
    """
    clock = QtCore.QElapsedTimer()
    clock.start()
    alarm = QtCore.QTimer()  # else the loop would sleep until something happens
    alarm.start(_TICK_MS)
    flags = QtCore.QEventLoop.ProcessEventsFlag
    with _undisturbed():
        while not condition():
            if clock.elapsed() > 1000 * seconds:
                raise TimeoutError(f"Nothing happened within {seconds:g} s. {_hint()}".rstrip())
            _turn(flags.AllEvents | flags.WaitForMoreEvents)
    alarm.stop()


def _turn(flags: QtCore.QEventLoop.ProcessEventsFlag) -> None:
    if hold_lock:
        _qt_process_events()(flags.value)
    else:
        QtCore.QCoreApplication.processEvents(flags)


@cache
def _qt_process_events() -> Callable[[int], None]:
    """Return Qt's own function, called without giving the lock away."""
    folder = Path(QtCore.QLibraryInfo.path(QtCore.QLibraryInfo.LibraryPath.LibrariesPath))
    function = getattr(ctypes.PyDLL(str(folder / "libQt6Core.so.6")), _PROCESS_EVENTS)
    function.argtypes, function.restype = [ctypes.c_int], None
    return function


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no other thread take the lock from Python code that the loop calls."""
    before = sys.getswitchinterval()
    if hold_lock:
        sys.setswitchinterval(_FOREVER)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _hint() -> str:
    return "Python threads stand still meanwhile, as in Slicer (SLICER_HOST_HOLD_LOCK=0 lets them run)." * hold_lock
