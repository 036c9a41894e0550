"""A worker process: it does one piece of work at a time, and can be killed without the server.

What runs in the worker imports neither MONAI Label nor FastAPI.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from importlib.machinery import ModuleSpec
from multiprocessing.sharedctypes import RawValue
from typing import Any, Literal

from pebble import ProcessExpired, ProcessPool

from monailabel_app.errors import DeviceFailedError, WorkerLostError
from monailabel_app.jobs.warm import release_cached
from monailabel_app.jobs.work import Work, kind_of
from uncertaintyseg.inference.device_failure import is_device_failure
from uncertaintyseg.inference.out_of_memory import is_out_of_memory
from uncertaintyseg.workers.serving import begin

Failure = Literal["memory", "work", "start", "device", "model", "room"]
"""What ended a piece of work from outside: want of memory; the end of the process, under the work or before it had
begun; a device that does not compute any more; or, elsewhere, a model that is not there, or no room."""
_STARTING = "starting"
_STAGE_BYTES = 128
_LOOK_SECONDS = 0.005


class Progress(ctypes.Structure):
    """Shared memory without a lock: a killed worker cannot leave it held."""

    _fields_ = (
        ("fraction", ctypes.c_double),
        ("stage", ctypes.c_char * _STAGE_BYTES),
        ("paused", ctypes.c_bool),
        ("stands", ctypes.c_bool),
    )

    def report(self, stage: str, fraction: float) -> None:
        """Say where the work stands; `fraction` runs from 0 to 1 over the whole of it."""
        self.stage = stage.encode(errors="replace")[: _STAGE_BYTES - 1]
        self.fraction = fraction

    def stand_by(self, stage: str, fraction: float) -> None:
        """Say where the work stands, from the worker, and stay there as long as it is paused."""
        self.report(stage, fraction)
        if self.paused:
            release_cached()
            self.stands = True
            while self.paused:
                time.sleep(_LOOK_SECONDS)
            self.stands = False


class Worker:
    """The server's handle on one worker process, which starts again after a crash or a cancel.

    Args:
        niceness: added to that of the process; the higher, the more it stands back for others (not on Windows).
        device: where it computes, as of the work that it is given.
        threads: that it computes with; None leaves it to the libraries.
    """

    def __init__(self, niceness: int = 0, *, device: str = "cpu", threads: int | None = None) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would copy the server's threads and locks
        _spare_the_program()
        self._progress = RawValue(Progress)
        self._niceness, self._device, self._threads = niceness, device, threads
        self._pool: ProcessPool | None = None
        self._warming: Future[None] | None = None
        self._lock = threading.RLock()

    def submit(self, work: Work) -> Future[Any]:
        """Start a piece of work. Cancelling the future kills the process if it is at it."""
        self._progress.report(_STARTING, 0.0)
        self._progress.stands = False
        try:
            return self._ready_pool().schedule(_do, args=(work, self._device))
        except RuntimeError as error:  # it died just now
            raise BrokenProcessPool(str(error)) from error

    def ready(self) -> None:
        """See that there is a process; it takes a moment after a crash."""
        self._ready_pool()

    def warm_up(self) -> None:
        """Start the process and its imports now, so that the first prediction need not wait for them."""
        self._warming = self._ready_pool().schedule(_import_predictor)

    @property
    def warming_up(self) -> bool:
        """Whether these imports are still going on; what is asked meanwhile waits for them."""
        return self._warming is not None and not self._warming.done()

    def progress(self) -> tuple[str, float]:
        """Return the stage and the fraction of the work at hand."""
        stage = self._progress.stage.decode(errors="replace")
        return f"{stage}, paused" if self._progress.stands else stage, self._progress.fraction

    def pause(self, paused: bool) -> None:
        """Have the work, now and whatever comes, stand still where it next reports; or let it go on."""
        self._progress.paused = paused

    def failure(self, error: Exception) -> Failure | None:
        """What it was that ended the last piece of work with this error; None where that was its own."""
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, DeviceFailedError):
            return "device"
        if isinstance(error, ProcessExpired):
            return "start" if self._progress.stage.decode(errors="replace") == _STARTING else "work"
        return "start" if isinstance(error, BrokenProcessPool | WorkerLostError) else None

    def close(self) -> None:
        """Kill the process; the next piece of work starts a new one."""
        with self._lock:
            if self._pool is not None:
                self._pool.stop()
                self._pool.join()
                self._pool = None

    def _ready_pool(self) -> ProcessPool:
        with self._lock:
            if self._pool is None or not self._pool.active:  # at first, and when the process died while it was idle
                self.close()
                start = (self._progress, self._niceness, self._threads)
                self._pool = ProcessPool(1, initializer=_start, initargs=start, context=self._context)
            if not self._pool.active:  # asking for the state is what starts it
                raise WorkerLostError("the worker process cannot be started; the server's log says why")
            return self._pool


def _spare_the_program() -> None:
    """Keep workers from importing the program that the server runs in.

    A spawned process imports its parent's main module unless the name ends in `__main__`; that of the stock command
    brings MONAI Label and all of MONAI, which takes a worker longer than all that it needs.
    """
    sys.modules["__main__"].__spec__ = ModuleSpec("server.__main__", None)


_shared: list[Progress] = []


def _start(progress: Progress, niceness: int, threads: int | None) -> None:
    _shared[:] = [progress]
    begin(threads)
    if hasattr(os, "nice"):
        os.nice(niceness)
    threading.Thread(target=_end_with_the_server, daemon=True).start()


def _end_with_the_server() -> None:
    """A server that was killed cannot stop its workers, and what they do next nobody would know of."""
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(1)


def _import_predictor() -> None:
    import uncertaintyseg.inference.predictor  # noqa: F401, PLC0415 - torch belongs to the worker


def _do(work: Work, device: str) -> Any:
    try:
        return work.run(_shared[0].stand_by)
    except Exception as error:
        if not isinstance(error, MemoryError) and is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        if kind_of(device) != "cpu" and is_device_failure(error):
            raise DeviceFailedError(
                f"{device} does not compute any more ({str(error).partition(chr(10))[0]})"
            ) from error
        raise
