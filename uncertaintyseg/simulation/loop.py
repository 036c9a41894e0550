"""All cells of a simulation, several at a time; what is done is never done again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from functools import partial
from pathlib import Path

import torch

from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.simulation.cell import CELLS, START, Cell, run_cell
from uncertaintyseg.simulation.settings import SETTINGS, Settings

Progress = Callable[[str, float], None]


def simulate(
    settings: Settings,
    data: Path,
    bundle: Bundle,
    output: Path,
    *,
    strategies: Sequence[str],
    seeds: Sequence[int],
    rounds: int,
    learning_rate: float,
    workers: int = 1,
    resume: bool = True,
    progress: Progress = lambda stage, fraction: None,
) -> None:
    """Do every cell that is not done yet; killed at any moment, the next call goes on from the last finished cells.

    Args:
        settings: what the cells share.
        data: folder of the cases.
        bundle: the model; its weights are not read.
        output: folder of the simulation.
        strategies: their names.
        seeds: each draws its own start set, from which all strategies go on.
        rounds: of asking for labels.
        learning_rate: at the start of each round.
        workers: processes; 1 works in this one.
        resume: keep what an earlier call has done.
        progress: called with a line of text and the fraction of cells done.

    Raises:
        InputError: the output folder holds another simulation, or a scan or label cannot be used.
    """
    if not resume:
        (output / SETTINGS).unlink(missing_ok=True)
        shutil.rmtree(output / CELLS, ignore_errors=True)
    settings.keep(output)
    work = partial(run_cell, settings=settings, data=data, model=bundle.folder, learning_rate=learning_rate)
    starts = [Cell(output, START, seed, 0) for seed in seeds]
    total = len(seeds) * (1 + len(strategies) * rounds)
    clock = _TimeLeft(total, progress)

    def following(cell: Cell) -> Iterator[Cell]:
        if cell.round < rounds:
            for name in strategies if cell.strategy == START else [cell.strategy]:
                yield Cell(output, name, cell.seed, cell.round + 1)

    with _executor(workers) as pool:
        running: dict[Future[None], Cell] = {}
        ready = starts
        while ready or running:
            while ready:
                cell = ready.pop(0)
                if cell.outcome() is None:
                    running[pool.submit(work, cell)] = cell
                else:
                    clock.found(cell)
                    ready += following(cell)
            ended, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in ended:
                cell = running.pop(future)
                _raise_first(future, pool)
                clock.did(cell)
                if cell.round > 1:
                    cell.before.drop_model()
                ready += following(cell)


def _raise_first(future: Future[None], pool: Executor) -> None:
    try:
        future.result()
    except BrokenExecutor as error:
        raise UncertaintySegError(
            "a process of the simulation died, perhaps for want of memory: start it again with --workers 1; what is "
            "done is kept."
        ) from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


class _TimeLeft:
    """Says how far a simulation is and how long it will take at the pace so far."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress
        self._done = self._new = 0
        self._started = time.monotonic()

    def found(self, cell: Cell) -> None:
        """Count a cell of an earlier call."""
        self._done += 1
        self._say(cell)

    def did(self, cell: Cell) -> None:
        """Count a cell of this call."""
        self._done += 1
        self._new += 1
        self._say(cell)

    def _say(self, cell: Cell) -> None:
        text = f"{self._done} of {self._total} cells, last {cell.strategy} seed {cell.seed} round {cell.round}"
        if self._new:
            pace = (time.monotonic() - self._started) / self._new
            text += f", about {max(1, round(pace * (self._total - self._done) / 60))} min left"
        self._progress(text, self._done / self._total)


def _executor(workers: int) -> Executor:
    if workers == 1:
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(threads,))


def _begin_worker(threads: int) -> None:
    """Share the cores, and end when the main process does, however it ends."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
