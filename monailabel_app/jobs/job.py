"""What the queue holds: a job is one or more predictions, and what to make of their reports."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from monailabel_app.jobs.results import ROUTE, Report
from monailabel_app.jobs.worker import Task
from uncertaintyseg import wire
from uncertaintyseg.errors import UncertaintySegError

MEASURE = "predictive_entropy"


@dataclass(frozen=True)
class Step:
    """One prediction of a job. `image` is the datastore's id, or None for a scan that is not in it."""

    image: str | None
    task: Task


OnReport = Callable[[Step, Report], None]


class Job(ABC):
    """Steps still to do and an `outcome` that ends with the job's result or its error."""

    kind: ClassVar[Literal["infer", "score"]]

    def __init__(self, model: str, steps: Sequence[Step], on_report: OnReport) -> None:
        self.id = uuid.uuid4().hex
        self.model = model
        self.steps = deque(steps)
        self.total = len(steps)
        self.state: wire.JobState = "queued"
        self.outcome: Future[dict[str, Any]] = Future()
        self._on_report = on_report

    def accept(self, step: Step, report: Report) -> None:
        """Take the report of one step that is done."""
        self._on_report(step, report)

    @abstractmethod
    def reject(self, step: Step, error: UncertaintySegError) -> None:
        """Take the error of one step; raise it if the job cannot go on."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Return what the job ends with once no step is left."""


class InferJob(Job):
    """One image, somebody waiting. Ends with a `wire.InferResult`."""

    kind = "infer"

    def __init__(self, model: str, step: Step, on_report: OnReport) -> None:
        super().__init__(model, [step], on_report)
        self.report: Report | None = None

    def accept(self, step: Step, report: Report) -> None:
        """Keep the report: it is the result."""
        super().accept(step, report)
        self.report = report

    def reject(self, _step: Step, error: UncertaintySegError) -> None:
        """Fail the job."""
        raise error

    def result(self) -> dict[str, Any]:
        """Return a `wire.InferResult` as plain JSON."""
        assert self.report is not None
        label = f"{ROUTE}/{self.report.risk.result}/label.nii.gz"
        names = {item.name: item.id for item in self.report.labels}
        result = wire.InferResult(risk=self.report.risk, label=label, label_names=names, labels=self.report.labels)
        return result.model_dump(mode="json")


class ScoreJob(Job):
    """Many images in the background. A scan that cannot be read is left out and named in the result.

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
        self._failed: dict[str, str] = {}

    def accept(self, step: Step, report: Report) -> None:
        """Add one score."""
        super().accept(step, report)
        self._scores[step.image] = report.case_score

    def reject(self, step: Step, error: UncertaintySegError) -> None:
        """Note the error and go on."""
        self._failed[step.image] = str(error)

    def result(self) -> dict[str, Any]:
        """Return scores by image id, and a message for each image that has none."""
        return {"scores": self._scores, "measure": MEASURE, "model": self.model, "failed": self._failed}
