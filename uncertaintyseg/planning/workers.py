"""Cases measured by several processes, of which any may die without taking the others along."""

from __future__ import annotations

import contextlib
import gzip
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

import nibabel as nib
import psutil

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.facts import Problem
from uncertaintyseg.planning.measuring import Meaning, Measured, files_of, measure
from uncertaintyseg.planning.serving import serve

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case

_HERE = 1e8  # voxels in all that this process has measured before another one is ready
_BASE_BYTES = 6e8  # of a process with nothing but its imports
_USED = 0.8  # of the memory that is free
_UNPACKED = 4  # times what a packed file of unknown shape is taken to hold


def measure_all(
    cases: Sequence[Case], meaning: Meaning, workers: int | None = None, *, work: Callable[..., Measured] = measure
) -> Iterator[tuple[Case, Measured]]:
    """Measure cases as they come, each once, in any order.

    A case whose process dies is measured once more while no other is; if its process dies again that is its problem.

    Args:
        cases: with labels.
        meaning: of their data set.
        workers: processes; None: as cores and free memory allow, 0: this one.
        work: what is done with a case; a function of a module.
    """
    if workers is None:
        workers = _fitting(cases, meaning)
    if workers == 0:
        yield from ((case, work(case, meaning)) for case in cases)
        return
    left, again = list(cases), []
    with _crew(min(workers, len(cases)), meaning, work) as crew:
        for case, measured in crew.run(left):
            if measured is None:
                again.append(case)
            else:
                yield case, measured
    for case in again:
        with _crew(1, meaning, work) as crew:
            for _, measured in crew.run([case], here=False):
                yield case, measured or _lost(case, crew.ended)


def _fitting(cases: Sequence[Case], meaning: Meaning) -> int:
    """How many processes to start; 0 where that takes longer than measuring."""
    sizes = [_voxels(case, meaning) for case in cases]
    if sum(sizes) < _HERE:
        return 0
    needed = _BASE_BYTES + max(sizes) * (4 * meaning.channels + 16)  # float32 channels; the label as read and as ids
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, len(cases), int(psutil.virtual_memory().available * _USED / needed)))


def _voxels(case: Case, meaning: Meaning) -> float:
    """About how many voxels a channel of a case has: as its header says, else by the size of its files."""
    try:
        if case.image.is_file() and case.image.name.lower().endswith((".nii", ".nii.gz")):
            return math.prod(nib.load(case.image).shape)
        return sum(path.stat().st_size for path in files_of(case, meaning)) * _UNPACKED / 2 / meaning.channels
    except (OSError, EOFError, ValueError, gzip.BadGzipFile, nib.filebasedimages.ImageFileError, InputError):
        return 0  # measuring says what is wrong


def _lost(case: Case, ended: int | None) -> Measured:
    how = f"signal {signal.Signals(-ended).name}" if ended is not None and ended < 0 else f"exit code {ended}"
    text = (
        f"{case.image}: the process that read it died twice ({how}), perhaps for want of memory or because a file is "
        "damaged. Free memory, copy the files again, or leave the case out."
    )
    return Measured(None, [Problem(case.id, "died", text, "error")])


class _Crew:
    """Processes that measure. One that dies is replaced, unless it never was ready to work."""

    def __init__(self, count: int, meaning: Meaning, work: Callable[..., Measured]) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would copy threads and their locks
        self._given = meaning, work
        self._processes: dict[Connection, SpawnProcess] = {}
        self._busy: dict[Connection, Case | None] = {}
        """What each has in hand; None before it is ready and while it has nothing."""
        self.ended: int | None = None
        """Exit code of the last one that died."""
        for _ in range(count):
            self._start()

    def close(self) -> None:
        """End them, whatever they are at."""
        for process in self._processes.values():
            process.terminate()
        for ours, process in self._processes.items():
            process.join()
            ours.close()

    def run(self, cases: Sequence[Case], *, here: bool = True) -> Iterator[tuple[Case, Measured | None]]:
        """Measure cases; None for one whose process died.

        Args:
            cases: with labels.
            here: measure them in this process if no other can start: a program without a main guard, no memory.
        """
        waiting = list(reversed(cases))
        while waiting or any(self._busy.values()):
            if not self._processes:
                meaning, work = self._given
                yield from ((case, work(case, meaning) if here else None) for case in reversed(waiting))
                return
            for ours in wait(list(self._processes)):
                yield from self._hear(ours, waiting)

    def _hear(self, ours: Connection, waiting: list[Case]) -> Iterator[tuple[Case, Measured | None]]:
        """Take the answer of a process, and give it the next case."""
        case = self._busy[ours]
        try:
            measured = ours.recv()
        except (EOFError, OSError):
            self._bury(ours)
            if case is not None:
                yield case, None
                if waiting:
                    self._start()
            return
        self._busy[ours] = None
        if waiting:
            with contextlib.suppress(OSError):  # dead between two cases: the next look at it tells
                ours.send(waiting[-1])
                self._busy[ours] = waiting.pop()
        if case is not None:
            yield case, measured

    def _bury(self, ours: Connection) -> None:
        del self._busy[ours]
        process = self._processes.pop(ours)
        process.join()
        ours.close()
        self.ended = process.exitcode

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours], self._busy[ours] = process, None
        with contextlib.suppress(OSError):  # it could not start, which `_hear` finds out
            ours.send(self._given)


@contextlib.contextmanager
def _crew(count: int, meaning: Meaning, work: Callable[..., Measured]) -> Iterator[_Crew]:
    crew = _Crew(count, meaning, work)
    try:
        yield crew
    finally:
        crew.close()
