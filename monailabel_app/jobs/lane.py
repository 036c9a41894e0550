"""One worker of the queue: the job whose turn it is, and how long such work takes."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from monailabel_app.jobs.job import Job
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Worker


@dataclass
class AtWork:
    """What a worker is at, and since when; the time that it stood still does not count."""

    future: Future[Any]
    started: float


class Lane:
    """A worker and what it is at. The queue's lock guards it.

    Args:
        worker: Its process.

    Attributes:
        turn: the job that has it.
        at_work: what the process is at; None also while a result is looked for that may be there.
        seconds: how long the last step of a kind of job with a model took.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.turn: Job | None = None
        self.at_work: AtWork | None = None
        self.seconds: dict[tuple[str, str], float] = {}
        self._paused: float | None = None

    @property
    def makes(self) -> str | None:
        """Key of the result that is being made."""
        return self.turn.steps[0].key if self.turn else None

    @property
    def elapsed(self) -> float:
        """Seconds that the step at work has taken."""
        now = time.monotonic() if self._paused is None else max(self._paused, self.at_work.started)
        return now - self.at_work.started

    def begin(self, work: Work) -> Future[Any]:
        """Give it to the worker."""
        future = self.worker.submit(work)
        self.at_work = AtWork(future, time.monotonic())
        return future

    def pause(self, paused: bool) -> None:
        """Let the worker stand still, or go on."""
        if paused == (self._paused is not None):
            return
        if not paused and self.at_work is not None:
            self.at_work.started += time.monotonic() - max(self._paused, self.at_work.started)
        self._paused = time.monotonic() if paused else None
        self.worker.pause(paused)
