"""One worker of the queue: the job whose turn it is, and how long such work takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Failure

if TYPE_CHECKING:
    from monailabel_app.jobs.device import Device

_WARM = 6
"""Things that a lane remembers to be loaded in its worker, which keeps about as many."""


class Doer(Protocol):
    """What the queue needs of a worker: `Worker` is a process of this machine; it may as well be one elsewhere."""

    def submit(self, work: Work) -> Future[Any]:
        """Start a piece of work. Cancelling the future ends whatever is at it."""

    def ready(self) -> None:
        """See that there is somebody to do it. Raises what `failure` knows."""

    def warm_up(self) -> None:
        """Begin with what the first piece of work would have to wait for."""

    @property
    def warming_up(self) -> bool:
        """Whether that is still going on."""

    def progress(self) -> tuple[str, float]:
        """Stage and fraction of the work at hand."""

    def pause(self, paused: bool) -> None:
        """Have the work stand still where it next reports, or go on."""

    def failure(self, error: Exception) -> Failure | None:
        """What it was that ended the work with this error, if it was not the work's own."""

    def close(self) -> None:
        """End it; the next piece of work starts it anew."""


@dataclass
class AtWork:
    """What a worker is at, and since when; the time that it stood still does not count."""

    future: Future[Any]
    started: float


class Lane:
    """A worker and what it is at. The queue's lock guards it.

    Args:
        worker: Who does it.
        device: Where; None where the work itself says so.

    Attributes:
        turn: the job that has it.
        step: of that job, which is in no other lane and no longer among those that wait.
        at_work: what the worker is at; None also while a result is looked for that may be there.
        seconds: how long the last step of a kind of job with a model took.
    """

    def __init__(self, worker: Doer, device: Device | None = None) -> None:
        self.worker, self.device = worker, device
        self.turn: Job | None = None
        self.step: Step | None = None
        self.at_work: AtWork | None = None
        self.seconds: dict[tuple[str, str], float] = {}
        self._warm: deque[Hashable] = deque(maxlen=_WARM)
        self._paused: float | None = None

    @property
    def makes(self) -> str | None:
        """Key of the result that is being made."""
        return self.step.key if self.step else None

    @property
    def place(self) -> Hashable:
        """What it shares with others that take turns with it; None: nothing."""
        return None if self.device is None else self.device.place(self)

    @property
    def elapsed(self) -> float:
        """Seconds that the step at work has taken."""
        now = time.monotonic() if self._paused is None else max(self._paused, self.at_work.started)
        return now - self.at_work.started

    @property
    def left(self) -> float | None:
        """Seconds that the step at work still takes, should it go on as it began; None as long as nobody knows."""
        fraction = self.worker.progress()[1] if self.at_work else 0.0
        return self.elapsed * (1 - fraction) / fraction if fraction else None

    def take(self, job: Job, step: Step) -> None:
        """Have it be a job's turn."""
        self.turn, self.step, job.state = job, step, "running"

    def leave(self) -> None:
        """Be free again."""
        self.turn = self.step = self.at_work = None

    def begin(self, work: Work) -> Future[Any]:
        """Give it to the worker."""
        future = self.worker.submit(work if self.device is None else work.on(self.device.name))
        self.at_work = AtWork(future, time.monotonic())
        return future

    def did(self) -> None:
        """Note how long the step took that has just been done, and what it left loaded."""
        if self.device is not None:
            self.device.worked()
        self.seconds[self.turn.kind, self.turn.model] = self.elapsed
        for thing in self.step.work.loads:
            if thing in self._warm:
                self._warm.remove(thing)
            self._warm.append(thing)

    def warmth(self, work: Work) -> int:
        """How much of what it needs is likely to be loaded; who waits for it gets it sooner here."""
        return sum(thing in self._warm for thing in work.loads)

    def end(self) -> None:
        """End the worker, with all that it has loaded."""
        self._warm.clear()
        self.worker.close()

    def pause(self, paused: bool) -> None:
        """Let the worker stand still, or go on."""
        if paused == (self._paused is not None):
            return
        if not paused and self.at_work is not None:
            self.at_work.started += time.monotonic() - max(self._paused, self.at_work.started)
        self._paused = time.monotonic() if paused else None
        self.worker.pause(paused)
