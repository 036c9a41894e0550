"""Tasks whose workers behave as they are told; other processes import them from here."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.workers.crew import Task


@dataclass(frozen=True)
class Double(Task):
    """Doubles numbers; notes in a folder who did what, as files `<item>_<pid>`."""

    folder: Path
    deadly: tuple[int, ...] = ()
    """Items that kill the worker."""
    deadly_once: tuple[int, ...] = ()
    """Items that kill the first worker that has them."""
    slow: float = 0.0
    """Seconds an item."""

    def prepare(self, worker: int):
        return self._do

    def _do(self, item: int, report) -> int:
        seen = list(self.folder.glob(f"{item}_*"))
        (self.folder / f"{item}_{os.getpid()}").touch()
        report("doubling", 0.5)
        time.sleep(self.slow)
        if item in self.deadly or (item in self.deadly_once and not seen):
            os.kill(os.getpid(), signal.SIGKILL)
        if item < 0:
            raise InputError(f"{item} is below 0")
        if item == 1000:
            raise ZeroDivisionError("by nothing")
        return 2 * item


@dataclass(frozen=True)
class Broken(Task):
    """Cannot get ready."""

    dies: bool = False

    def prepare(self, worker: int):
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        raise UncertaintySegError("there is no model here")


@dataclass(frozen=True)
class Threads(Task):
    """Tells how many threads torch and OpenMP take."""

    def prepare(self, worker: int):
        import torch

        return lambda item, report: (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"))
