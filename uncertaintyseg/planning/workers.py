"""Cases measured by several processes, of which any may die without taking the others along."""

from __future__ import annotations

import contextlib
import gzip
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nibabel as nib
import psutil

from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.planning.facts import Problem
from uncertaintyseg.planning.measuring import Meaning, Measured, files_of, measure
from uncertaintyseg.workers import LocalCrew, Outcome, Task, each
from uncertaintyseg.workers.local import cores

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
    Where no process can start this one measures.

    Args:
        cases: with labels.
        meaning: of their data set.
        workers: processes; None: as cores and free memory allow, 0: this one.
        work: what is done with a case; a function of a module.
    """
    if workers is None:
        workers = _fitting(cases, meaning)
    left = {case.id: case for case in cases}
    if workers:
        with contextlib.suppress(UncertaintySegError):
            for outcome in each(cases, _Measure(meaning, work), LocalCrew(min(workers, len(cases)))):
                yield left.pop(outcome.item.id), outcome.answer or _lost(outcome)
    yield from ((case, work(case, meaning)) for case in left.values())


@dataclass(frozen=True)
class _Measure(Task):
    """What the processes do."""

    meaning: Meaning
    work: Callable[..., Measured]

    def prepare(self, worker: int) -> Callable[..., Measured]:  # noqa: ARG002 - all are alike
        """Get ready, which takes nothing."""
        return lambda case, _: self.work(case, self.meaning)


def _fitting(cases: Sequence[Case], meaning: Meaning) -> int:
    """How many processes to start; 0 where that takes longer than measuring."""
    sizes = [_voxels(case, meaning) for case in cases]
    if sum(sizes) < _HERE:
        return 0
    needed = _BASE_BYTES + max(sizes) * (4 * meaning.channels + 16)  # float32 channels; the label as read and as ids
    return max(1, min(cores(), len(cases), int(psutil.virtual_memory().available * _USED / needed)))


def _voxels(case: Case, meaning: Meaning) -> float:
    """About how many voxels a channel of a case has: as its header says, else by the size of its files."""
    try:
        if case.image.is_file() and case.image.name.lower().endswith((".nii", ".nii.gz")):
            return math.prod(nib.load(case.image).shape)
        return sum(path.stat().st_size for path in files_of(case, meaning)) * _UNPACKED / 2 / meaning.channels
    except (OSError, EOFError, ValueError, gzip.BadGzipFile, nib.filebasedimages.ImageFileError, InputError):
        return 0  # measuring says what is wrong


def _lost(outcome: Outcome[Case]) -> Measured:
    case = outcome.item
    return Measured(None, [Problem(case.id, "died", f"{case.image}: {outcome.error}", "error")])
