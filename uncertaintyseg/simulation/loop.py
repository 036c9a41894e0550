"""All cells of a simulation, several at a time; what is done is never done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.simulation.cell import CELLS, START, Cell, run_cell
from uncertaintyseg.simulation.settings import SETTINGS, Settings
from uncertaintyseg.workers import Crew, Outcome, Task, each

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
    crew: Callable[[], Crew] | None = None,
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
        crew: makes the workers that do it; None: this process does.
        resume: keep what an earlier call has done.
        progress: called with a line of text and the fraction of cells done.

    Raises:
        InputError: the output folder holds another simulation, or a scan or label cannot be used.
        UncertaintySegError: workers died of a cell; what is done is kept.
    """
    if not resume:
        (output / SETTINGS).unlink(missing_ok=True)
        shutil.rmtree(output / CELLS, ignore_errors=True)
    settings.keep(output)
    task = RunCells(settings, data.resolve(), bundle.folder.resolve(), learning_rate)
    order = _Order(strategies, rounds, _TimeLeft(len(seeds) * (1 + len(strategies) * rounds), progress))
    starts = order.left_of(Cell(output.resolve(), START, seed, 0) for seed in seeds)
    if crew is None:
        _run_here(starts, task, order.follow)
        return
    for _ in each(starts, task, crew(), follow=order.follow):
        pass  # the order has seen it


class _Order:
    """Which cells can be done, and when."""

    def __init__(self, strategies: Sequence[str], rounds: int, clock: _TimeLeft) -> None:
        self._strategies, self._rounds, self._clock = strategies, rounds, clock

    def follow(self, outcome: Outcome[Cell]) -> list[Cell]:
        """Those that the end of one makes possible; raises the error of one that failed."""
        cell = outcome.item
        if outcome.error is not None:
            raise _error(outcome)
        self._clock.did(cell)
        if cell.round > 1:
            cell.before.drop_model()
        return self.left_of(self._following(cell))

    def left_of(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those that are not done, and those that the others make possible."""
        left, ready = [], list(cells)
        while ready:
            cell = ready.pop(0)
            if cell.outcome() is None:
                left.append(cell)
            else:
                self._clock.found(cell)
                ready += self._following(cell)
        return left

    def _following(self, cell: Cell) -> Iterator[Cell]:
        if cell.round < self._rounds:
            for name in self._strategies if cell.strategy == START else [cell.strategy]:
                yield Cell(cell.output, name, cell.seed, cell.round + 1)


@dataclass(frozen=True)
class RunCells(Task):
    """What workers do; they share the folder of the simulation, in which models go from cell to cell."""

    settings: Settings
    data: Path
    model: Path
    learning_rate: float

    def prepare(self, worker: int) -> Callable[..., None]:  # noqa: ARG002 - all are alike
        """Look whether all folders are there."""
        for folder in (self.data, self.model):
            if not folder.is_dir():
                raise UncertaintySegError(f"{folder}: not there. A simulation's folders are the same on every node.")
        return self.run

    def run(self, cell: Cell, _progress: Callable[[str, float], None] | None = None) -> None:
        """Do a cell."""
        if not (cell.output / SETTINGS).is_file():
            raise UncertaintySegError(f"{cell.output}: not there. A simulation's folders are the same on every node.")
        run_cell(cell, self.settings, self.data, self.model, self.learning_rate)


def _run_here(starts: list[Cell], task: RunCells, follow: Callable[[Outcome[Cell]], list[Cell]]) -> None:
    ready = list(starts)
    while ready:
        cell = ready.pop(0)
        task.run(cell)
        ready += follow(Outcome(cell))


def _error(outcome: Outcome[Cell]) -> UncertaintySegError:
    cell = outcome.item
    text = f"{cell.strategy}, seed {cell.seed}, round {cell.round}: {outcome.error} What is done is kept."
    return UncertaintySegError(text) if outcome.died else InputError(outcome.error)


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
