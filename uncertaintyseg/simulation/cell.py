"""One round of one strategy from one seed: look at the pool, choose, learn, measure."""

from __future__ import annotations

import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from uncertaintyseg.active.candidates import Candidate, Pool
from uncertaintyseg.active.strategies import STRATEGIES
from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.inference.bundle import METADATA, WEIGHTS, Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.shapes import FEWEST
from uncertaintyseg.metrics.intervals import mean_of_defined
from uncertaintyseg.metrics.overlap import dice
from uncertaintyseg.simulation.settings import Settings
from uncertaintyseg.training.short import learn

CELLS = "cells"
"""Folder of the cells in that of the simulation."""
START = "start"
"""Stands for a strategy at round 0, which all strategies of a seed share."""
_START_FACTOR = 3
_LABEL_ALONE = 2
"""Whole segmentations drawn where nobody asks for intervals."""
_MODEL = "model"


class Outcome(BaseModel):
    """What a cell ends with."""

    labelled: list[str]
    """Ids with a label, those of this round last."""
    reasons: list[str]
    """Why each of this round was chosen."""
    dice: dict[str, list[float | None]]
    """By structure, of each held-out case; null where neither label nor reference has it."""
    seconds: dict[str, float]

    def mean_dice(self) -> float:
        """Mean over structures of the mean over cases."""
        known = ([value for value in values if value is not None] for values in self.dice.values())
        return mean_of_defined(map(mean_of_defined, known))


@dataclass(frozen=True)
class Cell:
    """A round of a strategy from a seed; its folder holds the model and, once it is done, `cell.json`.

    Attributes:
        output: folder of the simulation.
        strategy: its name, or `START`.
        seed: of the start set, of the strategy's draws and of the training.
        round: 0 is the start set.
    """

    output: Path
    strategy: str
    seed: int
    round: int

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.output / CELLS / f"seed_{self.seed}" / self.strategy / f"round_{self.round}"

    @property
    def before(self) -> Cell:
        """The cell whose model and labels it goes on from."""
        return Cell(self.output, START if self.round == 1 else self.strategy, self.seed, self.round - 1)

    def outcome(self) -> Outcome | None:
        """Its outcome, or None while it is not done."""
        path = self.folder / "cell.json"
        return Outcome.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def model(self) -> Bundle:
        """Its model."""
        return Bundle.load(self.folder / _MODEL)

    def drop_model(self) -> None:
        """Remove its model, which nothing goes on from any more."""
        shutil.rmtree(self.folder / _MODEL, ignore_errors=True)


def run_cell(cell: Cell, settings: Settings, data: Path, model: Path, learning_rate: float) -> None:
    """Do a cell whose `before` is done. A kill leaves it as if it had not begun.

    Raises:
        InputError: for a scan or label that cannot be used.
    """
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    cases = {case.id: case for case in read_cases(data)}
    labelled, reasons = _start_set(cell, settings), ["start set"] * settings.start
    if cell.round:
        known = cell.before.outcome().labelled
        choices = _choose(cell, settings, cases, known)
        labelled, reasons = known + [choice[0] for choice in choices], [choice[1] for choice in choices]
    clock("choose")

    learn(
        _begin(cell, model),
        [cases[i] for i in labelled],
        start_from=cell.before.model().weights if cell.round else None,
        steps=settings.iterations * (1 if cell.round else _START_FACTOR),
        learning_rate=learning_rate,
        seed=1000 * cell.seed + cell.round,
        device=settings.device,
    )
    clock("learn")
    found = _measure(Predictor(cell.model(), settings.device), [cases[i] for i in settings.test])
    clock("measure")
    outcome = Outcome(labelled=labelled, reasons=reasons, dice=found, seconds=seconds)
    write_bytes(cell.folder / "cell.json", outcome.model_dump_json(indent=1).encode())


def _start_set(cell: Cell, settings: Settings) -> list[str]:
    rng = np.random.default_rng(cell.seed)
    return [str(i) for i in rng.choice(sorted(settings.pool), min(settings.start, len(settings.pool)), replace=False)]


def _choose(cell: Cell, settings: Settings, cases: dict[str, Case], known: list[str]) -> list[tuple[str, str]]:
    """Ids to label next, with reasons."""
    strategy = STRATEGIES[cell.strategy]
    left = [i for i in settings.pool if i not in known]
    if not left:
        return []
    looked: dict[str, Candidate] = {}
    if strategy.reads:
        predictor = Predictor(cell.before.model(), settings.device)
        seen = settings.pool if "features" in strategy.reads else left
        looked = {i: look_at(predictor, cases[i]) for i in seen}
    rng = np.random.default_rng([cell.seed, cell.round, zlib.crc32(cell.strategy.encode())])
    pool = Pool(
        unlabelled=[looked.get(i, Candidate(i)) for i in left],
        labelled=[looked.get(i, Candidate(i)) for i in known],
        round=cell.round - 1,
        rng=rng,
    )
    return [(choice.id, choice.reason) for choice in strategy.choose(pool, settings.step)]


def look_at(predictor: Predictor, case: Case) -> Candidate:
    """What strategies want to know of a case, by a model."""
    found = predictor.predict(case.image, samples=FEWEST)
    return Candidate(case.id, found.case_scores, found.features)


def _begin(cell: Cell, model: Path) -> Bundle:
    """A copy of the model in the cell's folder, without weights."""
    folder = cell.folder / _MODEL
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model / METADATA.parent, folder / METADATA.parent)
    (folder / WEIGHTS).parent.mkdir()
    return Bundle.load(folder)


def _measure(predictor: Predictor, cases: list[Case]) -> dict[str, list[float | None]]:
    names = {item.name: item.id for item in predictor.bundle.labels}
    found: dict[str, list[float | None]] = {name: [] for name in names}
    for case in cases:
        label = predictor.predict(case.image, samples=_LABEL_ALONE).label
        reading = predictor.bundle.label_reading
        scan = first_channel(case.image, len(predictor.bundle.channels))
        reference = read_case_label(case, names, like=scan, **reading)[0].numpy()
        known = reference != IGNORED
        for name, class_id in names.items():
            value = dice((label == class_id) & known, reference == class_id)
            found[name].append(None if np.isnan(value) else value)
    return found


class _Clock:
    """Notes the seconds since it was asked last."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._since = seconds, time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage] = round(now - self._since, 2)
        self._since = now
