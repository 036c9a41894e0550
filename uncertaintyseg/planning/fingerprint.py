"""The fingerprint of a data set: what a plan is made from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.cache import FactsCache, user_cache
from uncertaintyseg.planning.comparing import Problem, compare
from uncertaintyseg.planning.facts import CaseFacts
from uncertaintyseg.planning.measuring import Meaning
from uncertaintyseg.planning.workers import measure_all

if TYPE_CHECKING:
    from uncertaintyseg.data.dataset import DataSet

LOW, HIGH = 0.5, 99.5
"""Percentiles of the foreground's intensities, where nnU-Net clips CT."""


@dataclass(frozen=True)
class ChannelFacts:
    """Intensities of a channel over the voxels of all structures, every case counted alike."""

    name: str
    mean: float
    std: float
    median: float
    minimum: float
    maximum: float
    low: float
    """0.5 % of the intensities lie below."""
    high: float
    """0.5 % of the intensities lie above."""


@dataclass(frozen=True)
class StructureFacts:
    """A structure in a data set."""

    id: int
    name: str
    present: int
    """How many cases hold it."""
    volume: float
    """Median of these (`CaseFacts.volumes`); 0 where no case holds it."""
    voxels: int
    """Of all cases."""


@dataclass(frozen=True)
class Fingerprint:
    """What was found in a data set. Axes run right, forward and up (RAS+)."""

    dataset: DataSet
    cases: list[CaseFacts]
    """Those that could be measured, sorted by id."""
    channels: list[ChannelFacts]
    structures: list[StructureFacts]
    problems: list[Problem]
    """Errors first, then by case."""
    seconds: float
    """That it took."""
    measured: list[Problem]
    """Those of the problems that were found in a case by itself."""
    left_out: tuple[str, ...] = ()
    """Ids of cases that are not counted, sorted."""
    why_left_out: tuple[Problem, ...] = ()
    """Their errors."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Median over the cases of the spacing along R, A and S, in mm."""
        return tuple(float(value) for value in np.median(self.spacings, axis=0))

    @property
    def spacings(self) -> np.ndarray:
        """`[N, 3]`, in mm."""
        return np.array([case.spacing for case in self.cases], dtype=np.float64).reshape(-1, 3)

    @property
    def shapes(self) -> np.ndarray:
        """`[N, 3]`, in voxels, each cropped to what is not 0."""
        return np.array([case.cropped_shape for case in self.cases], dtype=np.int64).reshape(-1, 3)

    @property
    def flat(self) -> bool:
        """Whether these are images and clips: a network then sees each slice alone."""
        return all(case.axes != "volume" for case in self.cases)

    @property
    def unit(self) -> str:
        """Of lengths: mm, or px where no spacing is known."""
        return "mm" if all(case.spacing_known for case in self.cases) else "px"

    @property
    def size_unit(self) -> str:
        """Of structures: mL; mm2 or px of images, and of clips a frame."""
        return ("mm2" if self.unit == "mm" else "px") if self.flat else "mL"

    @property
    def size_scale(self) -> float:
        """How many of them are in one mm3, mm2 or pixel."""
        return 1.0 if self.flat else 1e-3

    @property
    def errors(self) -> list[Problem]:
        """The problems that end a plan."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def bad(self) -> list[str]:
        """Ids of the cases with errors, sorted; an error of the whole data set is of none of them."""
        return sorted({problem.case_id for problem in self.errors if problem.case_id is not None})

    def without(self, ids: Collection[str]) -> Fingerprint:
        """The fingerprint of the data set without some cases; `dataset` still has them, and all that were found.

        Raises:
            InputError: No case that could be measured is left.
        """
        cases = [case for case in self.cases if case.id not in ids]
        measured = [problem for problem in self.measured if problem.case_id not in ids]
        left_out = tuple(sorted({*self.left_out, *ids}))
        why = (*self.why_left_out, *(problem for problem in self.errors if problem.case_id in ids))
        found = merge(self.dataset, cases, measured, self.seconds)
        return replace(found, left_out=left_out, why_left_out=why)


def take_fingerprint(
    dataset: DataSet,
    *,
    cache: Path | Literal["user"] | None = "user",
    workers: int | None = None,
    progress: Callable[[str, float], None] = lambda text, fraction: None,
) -> Fingerprint:
    """Measure all labelled cases of a data set.

    Args:
        dataset: of `read_dataset`.
        cache: folder in which what was measured is kept from one time to the next; "user": in the user's folder of
            caches; None: nowhere.
        workers: processes; None: as many as there are cores and memory for.
        progress: called with a line of text and the fraction done.

    Raises:
        InputError: No case has a label, or none can be measured.
    """
    start, told = time.perf_counter(), []
    labelled = [case for case in dataset.cases if case.label is not None]
    if not labelled:
        raise InputError(f"{dataset.folder}: none of its {len(dataset.cases)} cases has a label.")
    meaning = Meaning.of(dataset)
    kept = FactsCache(user_cache() if cache == "user" else cache, dataset.folder, meaning, told.append)
    found, rest = [], []
    for case in labelled:
        known = kept.find(case)
        found += [known] if known else []
        rest += [] if known else [case]
    for case, measured in measure_all(rest, meaning, workers):
        kept.add(case, measured)
        found.append(measured)
        progress(f"measured {len(found)} of {len(labelled)} cases", len(found) / len(labelled))
    problems = [Problem(None, "cache", text, "warning") for text in told]
    problems += [_short(problem, dataset.folder) for measured in found for problem in measured.problems]
    cases = [measured.facts for measured in found if measured.facts is not None]
    return merge(dataset, cases, problems, time.perf_counter() - start)


def _short(problem: Problem, folder: Path) -> Problem:
    """With files named from the data set's folder on."""
    return replace(problem, text=problem.text.replace(f"{folder}{os.sep}", ""))


def merge(dataset: DataSet, cases: list[CaseFacts], measured: list[Problem], seconds: float) -> Fingerprint:
    """Put together what was measured case by case.

    Args:
        dataset: they are of.
        cases: those that could be measured.
        measured: what was found to be wrong with cases by themselves.
        seconds: that measuring took.

    Raises:
        InputError: There are no cases.
    """
    if not cases:
        first = f" The first: {measured[0].case_id}: {measured[0].text}" if measured else ""
        raise InputError(f"{dataset.folder}: no case of it could be measured, so there is nothing to plan from.{first}")
    cases = sorted(cases, key=lambda case: case.id)
    problems = [*measured, *compare(dataset, cases)]
    return Fingerprint(
        dataset,
        cases,
        [_channel(name, number, cases) for number, name in enumerate(dataset.channels)],
        [_structure(label.id, label.name, cases) for label in dataset.labels],
        sorted(problems, key=lambda problem: (problem.severity, problem.case_id or "", problem.kind)),
        seconds,
        measured,
    )


def _channel(name: str, number: int, cases: list[CaseFacts]) -> ChannelFacts:
    """Every case weighs the same, however large its structures are: nnU-Net draws as many voxels of each."""
    held = [channel for case in cases for channel in case.channels[number : number + 1] if channel.sample.size]
    if not held:
        return ChannelFacts(name, *[float("nan")] * 7)
    mean = float(np.mean([channel.mean for channel in held]))
    square = float(np.mean([channel.std**2 + (channel.mean - mean) ** 2 for channel in held]))
    low, median, high = np.percentile(np.concatenate([channel.sample for channel in held]), (LOW, 50, HIGH))
    return ChannelFacts(
        name,
        mean,
        square**0.5,
        float(median),
        min(channel.minimum for channel in held),
        max(channel.maximum for channel in held),
        float(low),
        float(high),
    )


def _structure(number: int, name: str, cases: list[CaseFacts]) -> StructureFacts:
    held = [case for case in cases if number in case.voxels]
    volume = float(np.median([case.volumes[number] for case in held])) if held else 0.0
    return StructureFacts(number, name, len(held), volume, sum(case.voxels[number] for case in held))
