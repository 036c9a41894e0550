"""One way for a predictor over many cases: in this process, or by workers that each load it themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.inference.shipping import Shipped, check_seen
from uncertaintyseg.workers import Crew, Outcome, Task, each
from uncertaintyseg.workers.crew import Do

if TYPE_CHECKING:
    import numpy as np

    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.inference.crf import CRF
    from uncertaintyseg.inference.fallback import Fallback
    from uncertaintyseg.inference.journal import Journal
    from uncertaintyseg.inference.prediction import Prediction
    from uncertaintyseg.inference.prompting import Asking

Progress = Callable[[str, float], None]


class Item(Protocol):
    """A case, or anything else that has a name."""

    @property
    def id(self) -> str:
        """Of the case."""


class Predicting(Protocol):
    """A `Predictor`, or anything else that segments scans."""

    bundle: Bundle
    """Its `labels` name the structures."""

    def predict(self, image: Any, /) -> Prediction:
        """Segment one scan."""

    def samples(self, prediction: Prediction, count: int, /) -> Iterable[np.ndarray]:
        """Draw whole segmentations `[*S]` on the scan's grid, of a prediction with a state."""


Work = Callable[[Any, Any, Progress], Any]
"""What is done with a case: told the predictor, the case and where to report; returns JSON, in which arrays may stand.
Raises `InputError` for a case that cannot be used. To cross to workers it is a function of a module, or a `partial`."""


class CaseLoop(ABC):
    """Does something with every case."""

    @abstractmethod
    def each(self, work: Work, cases: Sequence[Item], progress: Progress) -> Iterator[Outcome]:
        """Do it, each case once; outcomes come in any order.

        Args:
            work: what is done.
            cases: with ids of their own.
            progress: called with the case at work and the fraction of the cases done.
        """


class Here(CaseLoop):
    """The loop in this process, in order; an error that is not of a case ends it.

    Args:
        predictor: that is there already.
    """

    def __init__(self, predictor: Predicting) -> None:
        self.predictor = predictor

    def each(self, work: Work, cases: Sequence[Item], progress: Progress) -> Iterator[Outcome]:
        """Do it."""
        for number, case in enumerate(cases):
            progress(case.id, number / len(cases))
            try:
                answer = work(self.predictor, case, _of_many(progress, case, number, len(cases)))
            except StorageError:  # which all others would meet too
                raise
            except InputError as error:
                yield Outcome(case, error=str(error))
            else:
                yield Outcome(case, answer)


class ByWorkers(CaseLoop):
    """The loop by workers; the death of one is not the others' affair.

    Args:
        spec: how each loads its predictor.
        crew: makes the workers, once for every `each`.
        elsewhere: whether they may see other files than this machine.
    """

    def __init__(self, spec: PredictorSpec, crew: Callable[[], Crew], *, elsewhere: bool = False) -> None:
        self.spec, self.crew, self.elsewhere = spec, crew, elsewhere

    def each(self, work: Work, cases: Sequence[Item], progress: Progress) -> Iterator[Outcome]:
        """Do it."""
        if not cases:
            return
        done, at_work = 0, dict.fromkeys((case.id for case in cases), 0.0)
        count = len(cases)

        def tell(case: Item, stage: str, fraction: float) -> None:
            at_work[case.id] = fraction
            progress(f"{case.id}: {stage}", (done + sum(at_work.values())) / count)

        progress("starting workers", 0.0)
        for outcome in each(cases, PredictorTask(self.spec, work, self.elsewhere), self.crew(), progress=tell):
            done += 1
            at_work[outcome.item.id] = 0.0
            progress(f"{done} of {count}, last {outcome.item.id}", (done + sum(at_work.values())) / count)
            yield outcome


class GoingOn(CaseLoop):
    """A loop that remembers what is done, so that a killed one goes on where it stopped.

    Args:
        loop: that does the rest.
        journal: of answers.
        is_there: whether what a case left behind beside its answer is still there.
    """

    def __init__(
        self, loop: CaseLoop, journal: Journal, is_there: Callable[[Item, Any], bool] = lambda case, answer: True
    ) -> None:
        self.loop, self.journal, self.is_there = loop, journal, is_there

    def each(self, work: Work, cases: Sequence[Item], progress: Progress) -> Iterator[Outcome]:
        """Do it; an answer is remembered when the next outcome is asked for, so what the caller made of it counts."""
        left = []
        for case in cases:  # one at a time, for answers may hold maps
            answer = self.journal.answer(work, case)
            if answer is None or not self.is_there(case, answer):
                left.append(case)
            else:
                self.journal.used += 1
                yield Outcome(case, answer)

        def tell(stage: str, fraction: float) -> None:
            progress(stage, (len(cases) - len(left) + fraction * len(left)) / len(cases))

        for outcome in self.loop.each(work, left, tell):
            yield outcome
            if outcome.error is None:
                self.journal.note(work, outcome.item, outcome.answer)


def in_order(outcomes: Iterable[Outcome], cases: Sequence[Item]) -> Iterator[Outcome]:
    """The outcomes in the order of their cases: sums over cases are then the same, whoever did them."""
    early: dict[str, Outcome] = {}
    expected = iter([case.id for case in cases])
    following = next(expected, None)
    for outcome in outcomes:
        early[outcome.item.id] = outcome
        while following in early:
            yield early.pop(following)
            following = next(expected, None)


@dataclass(frozen=True)
class PredictorSpec:
    """How a predictor is loaded, in whatever process: plain values.

    Attributes:
        folder: of the bundle.
        checksum: `run_hash` of the model that runs, so that a worker knows whether its copy is the same.
        method: as of `predictors.predictor_for`; so are the next four.
        folders: where further models are.
        options: of passes.
        crf: draws neighbours together.
        threshold: how the label is cut.
        devices: that workers take in turn.
        force: whether channels are taken as they are.
        asking: makes what a model that is prompted is asked for, of the bundle and the device; None: nothing.
    """

    folder: Path
    checksum: str
    method: str | None = None
    folders: tuple[Path, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    crf: CRF | None = None
    threshold: str | None = None
    devices: tuple[str, ...] = ("cpu",)
    force: bool = False
    asking: Callable[[Bundle, str], Asking] | None = None

    def load(self, worker: int = 0) -> Fallback:
        """The predictor of a worker.

        Raises:
            UncertaintySegError: it cannot be loaded, or is another model than that of `checksum`.
        """
        from uncertaintyseg.inference.fallback import Fallback  # noqa: PLC0415 - torch belongs to the worker

        return Fallback(replace(self, devices=(self.devices[worker % len(self.devices)],)))


@dataclass(frozen=True)
class PredictorTask(Task):
    """What workers get ready for."""

    spec: PredictorSpec
    work: Work
    elsewhere: bool = False

    def prepare(self, worker: int) -> Do:
        """Load the predictor."""
        predictor = self.spec.load(worker)

        def do(item: Item | Shipped, report: Progress) -> Any:
            if isinstance(item, Shipped):
                with item.unpacked() as case:
                    return self.work(predictor, case, report)
            if self.elsewhere:
                check_seen(item)
            return self.work(predictor, item, report)

        return do


def _of_many(progress: Progress, case: Item, number: int, count: int) -> Progress:
    """What is done of all cases together, with the case's name where there are several."""
    if count == 1:
        return progress
    return lambda stage, fraction: progress(f"{case.id}: {stage}", (number + fraction) / count)
