"""Workers on this machine, a process each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.workers.crew import Answer, Crew, Heard, Task
from uncertaintyseg.workers.serving import serve

_PATIENCE = 5.0
"""Seconds that `hear` waits at most."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(workers: int) -> int:
    """Threads a worker, so that all of them have no more threads than there are cores."""
    return max(1, cores() // workers)


class LocalCrew(Crew):
    """Processes of this machine.

    Args:
        size: how many.
        threads: that each uses; None leaves it to the libraries.
    """

    shared_memory = True
    where = "of this machine"

    def __init__(self, size: int, threads: int | None = None) -> None:
        self.size, self.threads = size, threads
        self._context = multiprocessing.get_context("spawn")  # a fork would copy threads and their locks
        self._processes: dict[Connection, SpawnProcess] = {}

    def start(self, number: int, task: Task) -> Connection:
        """Start a process."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, number, self.threads), daemon=True)
        try:
            with _program_spared():
                process.start()
        except OSError as error:
            raise UncertaintySegError(
                f"a worker process cannot be started ({error.strerror}): use fewer workers, or free memory."
            ) from error
        theirs.close()
        self._processes[ours] = process
        self.give(ours, task)
        return ours

    def give(self, worker: Connection, item: Any) -> None:
        """Send an item, or its task."""
        with contextlib.suppress(OSError):  # dead, which `hear` finds out
            worker.send(item)

    def hear(self) -> list[Heard]:
        """Wait for news."""
        return [self._read(ours) for ours in wait(list(self._processes), _PATIENCE)]

    def end(self, worker: Connection) -> None:
        """Kill a process."""
        process = self._processes.pop(worker)
        process.terminate()
        process.join()
        worker.close()

    def close(self) -> None:
        """Kill all."""
        for process in self._processes.values():
            process.terminate()
        for worker in list(self._processes):
            self.end(worker)

    def _read(self, ours: Connection) -> Heard:
        try:
            said = ours.recv()
        except (EOFError, OSError):
            process = self._processes[ours]
            process.join()
            self.end(ours)
            return Heard(ours, "died", _how(process.exitcode))
        if isinstance(said, Answer):
            return Heard(ours, "answer", said)
        return Heard(ours, "ready") if said is None else Heard(ours, "progress", said)


def _how(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


@contextlib.contextmanager
def _program_spared() -> Any:
    """Keep a process from importing the program that starts it: a spawned one does so unless its name says not to."""
    main = sys.modules["__main__"]
    before = getattr(main, "__spec__", None)
    main.__spec__ = ModuleSpec("uncertaintyseg.__main__", None)
    try:
        yield
    finally:
        main.__spec__ = before
