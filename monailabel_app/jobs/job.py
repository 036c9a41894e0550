"""What the queue holds: a job is one or more pieces of work, and what to make of their answers."""

from __future__ import annotations

import logging
import threading
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

from monailabel_app.errors import told
from monailabel_app.jobs.results import Report, infer_result
from monailabel_app.jobs.work import Work
from uncertaintyseg import wire
from uncertaintyseg.errors import UncertaintySegError

logger = logging.getLogger(__name__)

MEASURE = "predictive_entropy"
ENDED = ("done", "failed", "cancelled")
PICKED = "uncalibrated: this case was picked for its risk, so it is not like the calibration cases"


@dataclass(frozen=True)
class Step:
    """One piece of work of a job.

    Attributes:
        image: the datastore's id, or None where it is not about one image in it.
        work: what is done; of a step that is still to be made all but its scan and its key.
        make: makes the whole work when its turn comes, where a scan has to be decoded or fetched for it; raises
            `UncertaintySegError` where that cannot be had.
        failed_on: numbers of the devices that failed under it, in order.
    """

    image: str | None
    work: Work
    make: Callable[[], Work] | None = None
    failed_on: tuple[int, ...] = ()

    @property
    def key(self) -> str | None:
        """Of the result; None also as long as nobody knows."""
        return None if self.make else self.work.key

    def made(self) -> Step:
        """The same once it has its work."""
        return self if self.make is None else Step(self.image, self.make())


OnReport = Callable[[Step, Report], None]


def ignore(_step: Step, _report: Report) -> None:
    """For jobs whose reports nobody else wants."""


class Job(ABC):
    """Steps that nobody is at yet and an `outcome` that ends with the job's result or its error.

    Steps may be done several at a time and end in any order; what they end with is taken one by one.

    Attributes:
        kind: what it is, for clients.
        urgent: whether somebody waits for it; the others stand still meanwhile, between two windows.
        prefetch_for: who will want it soon, of a job that nobody waits for yet; None for any other.
        long: whether it belongs to the second worker, which trains, so that no answer has to wait for it.
        waiting: how many requests wait for it; see `JobQueue.leave`.
        owners: names of who asked for it; they may cancel it.
    """

    kind: ClassVar[wire.JobKind]
    urgent: bool = False
    prefetch_for: str | None = None
    long: ClassVar[bool] = False

    def __init__(self, model: str, steps: Sequence[Step]) -> None:
        self.id = uuid.uuid4().hex
        self.model = model
        self.steps = deque(steps)
        self.total = len(steps)
        self.state: wire.JobState = "queued"
        self.outcome: Future[dict[str, Any]] = Future()
        self.waiting = 1
        self.owners: set[str] = set()
        self.taking = threading.Lock()

    @property
    def same(self) -> tuple[str, str | None, str] | None:
        """Jobs with the same value would do the same, so that one is enough; None for a job like no other."""
        return None

    @abstractmethod
    def accept(self, step: Step, answer: Any) -> None:
        """Take the answer of one step that is done: the `Report` of the result, or what work without a key returned."""

    def reject(self, _step: Step, error: UncertaintySegError) -> None:
        """Take the error of one step; raise it if the job cannot go on."""
        raise error

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Return what the job ends with once no step is left."""


class InferJob(Job):
    """One image, somebody waiting. Ends with a `wire.InferResult`, without a promise where it was `picked` for risk.

    With `prefetch_for`, the name of an annotator, nobody waits for it until somebody asks for the same. As long as
    nobody has, it is not reported: a score would change which case is served, and whether anything may be promised.
    """

    kind = "infer"
    urgent = True

    def __init__(
        self,
        model: str,
        step: Step,
        on_report: OnReport = ignore,
        *,
        picked: bool = False,
        prefetch_for: str | None = None,
    ) -> None:
        super().__init__(model, [step])
        self.urgent, self.prefetch_for = prefetch_for is None, prefetch_for
        self._step, self._on_report, self._picked = step, on_report, picked
        self.report: Report | None = None

    @property
    def same(self) -> tuple[str, str | None, str] | None:
        """The result and the image that it is noted for; one without a promise is another."""
        kind = f"{self.kind}, picked" if self._picked else self.kind
        return (kind, self._step.image, self._step.work.key) if self._step.work.key else None

    def accept(self, step: Step, answer: Report) -> None:
        """Keep the report: it is the result."""
        if self.prefetch_for is None:
            self._on_report(step, answer)
        self.report = answer

    def result(self) -> dict[str, Any]:
        """Return a `wire.InferResult` as plain JSON."""
        assert self.report is not None
        result = infer_result(self.report).model_dump(mode="json")
        if self._picked and self.report.risk.guarantee is not None:
            result["risk"] |= {"guarantee": None, "guarantee_reason": PICKED}
        return result


class _ManyImages(Job):
    """Many images in the background. A scan that cannot be read is left out and named in the result."""

    def __init__(self, model: str, steps: Sequence[Step], on_report: OnReport) -> None:
        super().__init__(model, steps)
        self._on_report = on_report
        self._failed: dict[str | None, str] = {}

    def accept(self, step: Step, answer: Report) -> None:
        """Hand the report on."""
        self._on_report(step, answer)

    def reject(self, step: Step, error: UncertaintySegError) -> None:
        """Note the error and go on."""
        logger.warning("%s job %s (%s): %s", self.kind, self.id, self.model, error)  # a client gets less
        self._failed[step.image] = told(error)


class ScoreJob(_ManyImages):
    """Scores images.

    Args:
        model: Name of the model that scores.
        steps: Images to score.
        on_report: Called with each report.
        known: Scores of images that need no new one; they join the result.
    """

    kind = "score"

    def __init__(self, model: str, steps: Sequence[Step], on_report: OnReport, known: dict[str, float]) -> None:
        super().__init__(model, steps, on_report)
        self._scores = dict(known)

    def accept(self, step: Step, answer: Report) -> None:
        """Add one score."""
        super().accept(step, answer)
        self._scores[step.image] = answer.case_score

    def result(self) -> dict[str, Any]:
        """Return scores by image id, and a message for each image that has none."""
        return {"scores": self._scores, "measure": MEASURE, "model": self.model, "failed": self._failed}


class BatchJob(_ManyImages):
    """Infers many images; `on_report` saves each label."""

    kind = "batch"

    def __init__(self, model: str, steps: Sequence[Step], on_report: OnReport) -> None:
        super().__init__(model, steps, on_report)
        self._results: dict[str | None, str] = {}

    def accept(self, step: Step, answer: Report) -> None:
        """Add one result."""
        super().accept(step, answer)
        self._results[step.image] = answer.risk.result

    def result(self) -> dict[str, Any]:
        """Return result keys by image id, and a message for each image that has none."""
        return {"results": self._results, "model": self.model, "failed": self._failed}


class LongJob(Job):
    """One piece of work without a result in the store, on the second worker; it ends with the work's answer."""

    long = True

    def __init__(self, model: str, work: Work, on_answer: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(model, [Step(None, work)])
        self._on_answer = on_answer
        self._answer: dict[str, Any] = {}

    def accept(self, _step: Step, answer: dict[str, Any]) -> None:
        """Keep the answer and hand it on."""
        self._answer = answer
        self._on_answer(answer)

    def result(self) -> dict[str, Any]:
        """Return the answer, plain JSON."""
        return self._answer


class TrainJob(LongJob):
    """Trains a model and publishes it; ends with a `wire.TrainResult`."""

    kind = "train"


class CalibrateJob(LongJob):
    """Calibrates the weights in use on cases reserved for it."""

    kind = "calibrate"
