"""The queue: what somebody waits for in order of arrival, the rest when nobody waits, training beside it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired

from monailabel_app.errors import JobCancelledError, NotFoundError, WorkerLostError
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Worker
from uncertaintyseg import wire
from uncertaintyseg.errors import StorageError, UncertaintySegError

logger = logging.getLogger(__name__)

_KEPT_JOBS = 100
"""Jobs that have ended and can still be asked for; each holds its whole result."""
_STOPPING = "the server is stopping"
ENDED = ("done", "failed", "cancelled")


class _Lane:
    """One worker, and the job that it is at."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.at_work: tuple[Job, Future[Any], float] | None = None
        self.seconds: dict[tuple[str, str], float] = {}  # the last step of a kind of job with a model

    def has(self, job: Job) -> bool:
        return self.at_work is not None and self.at_work[0] is job


class JobQueue:
    """Runs jobs on workers. Safe to call from any thread; none of its methods waits for a job.

    Args:
        store: Where workers put results. A result that is there is not computed again.
        worker: The process that answers.
        trainer: The process for long jobs.
    """

    def __init__(self, store: ResultStore, worker: Worker, trainer: Worker) -> None:
        self._store = store
        self._answering, self._training = _Lane(worker), _Lane(trainer)
        self._lanes = (self._answering, self._training)
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._stand_ins: dict[str, str] = {}  # keys of results for which another had to stand in
        self._open = True
        self.on_submit: Callable[[Job], None] = lambda _job: None  # raises to refuse a job
        self._threads = [threading.Thread(target=self._run, args=(lane,), daemon=True) for lane in self._lanes]
        for thread in self._threads:
            thread.start()

    def warm_up(self) -> None:
        """Start the answering process before the first job needs it."""
        self._answering.worker.warm_up()

    @property
    def warming_up(self) -> bool:
        """Whether a job that comes now waits for that."""
        return self._answering.worker.warming_up

    def submit(self, job: Job) -> Job:
        """Add a job, or join the one that does the same already; use the job that is returned.

        An urgent one whose results are all in the store ends at once, whatever else waits.

        Raises:
            JobCancelledError: The queue is closed.
        """
        self.on_submit(job)
        while job.urgent and job.steps and (report := self._stored(job.steps[0].work)) is not None:
            job.accept(job.steps.popleft(), report)
        with self._changed:
            if not self._open:
                raise JobCancelledError(_STOPPING)
            for other in self._jobs.values():
                if job.same is not None and other.same == job.same and other.state not in ENDED:
                    other.waiting += 1
                    other.owners |= job.owners
                    return other
            self._jobs[job.id] = job
            if not job.steps:
                self._end(job)
            self._forget_old()
            self._changed.notify_all()
        return job

    def get(self, job_id: str) -> Job:
        """Return a job by id. Raises `NotFoundError` when there is none."""
        with self._changed:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(f"no job {job_id!r}; it may have ended long ago")
        return job

    def jobs(self) -> list[Job]:
        """Return the jobs of this process, oldest first; those that ended long ago are forgotten."""
        with self._changed:
            return list(self._jobs.values())

    def cancel(self, job_id: str) -> None:
        """End a queued or running job without result; one that has ended stays as it is."""
        job = self.get(job_id)
        with self._changed:
            if job.state in ENDED:
                return
            self._end(job, JobCancelledError(f"the {job.kind} job {job.id} was cancelled"))
            lane = self._lane(job)
            if lane.has(job):
                lane.at_work[1].cancel()

    def leave(self, job: Job) -> None:
        """Wait for a job no longer; it is cancelled when nobody else does."""
        with self._changed:
            job.waiting -= 1
            nobody = job.waiting <= 0
        if nobody:
            self.cancel(job.id)

    def describe(self, job_id: str) -> wire.Job:
        """Say where a job stands."""
        job = self.get(job_id)
        with self._changed:
            lane = self._lane(job)
            waiting = self._waiting(lane)
            ahead = waiting[: waiting.index(job)] if job in waiting else []
            stage, fraction = self._standing(lane, job)
            error = job.outcome.exception() if job.outcome.done() else None
            return wire.Job(
                id=job.id,
                kind=job.kind,
                state=job.state,
                queue_position=len(ahead) if job.state == "queued" else 0,
                fraction=fraction,
                stage=stage,
                eta_s=self._eta(lane, [*ahead, job]) if job in waiting else None,
                result=job.outcome.result() if job.state == "done" else None,
                error=None if error is None else str(error),
            )

    def close(self) -> None:
        """Cancel everything and kill the workers. A second call changes nothing."""
        with self._changed:
            self._open = False
            for lane in self._lanes:
                for job in self._waiting(lane):
                    self._end(job, JobCancelledError(_STOPPING))
                if lane.at_work is not None:
                    lane.at_work[1].cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for lane in self._lanes:
            lane.worker.close()

    def _run(self, lane: _Lane) -> None:
        while (job := self._next(lane)) is not None:
            self._advance(lane, job)

    def _next(self, lane: _Lane) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting(lane) or not self._open)
            if not self._open:
                return None
            job = self._waiting(lane)[0]
            job.state = "running"
            return job

    def _advance(self, lane: _Lane, job: Job) -> None:
        """Do the job's next step; an urgent job that arrives meanwhile goes before the step after it."""
        step = job.steps[0]
        try:
            self._do(lane, job, step)
        except CancelledError:
            logger.info("%s job %s (%s) was cancelled", job.kind, job.id, job.model)
        except Exception as error:  # the queue outlives any bug
            if not isinstance(error, UncertaintySegError):
                logger.exception("%s job %s (%s)", job.kind, job.id, job.model)
            self._finish(job, error)
        with self._changed:
            job.steps.popleft()
            lane.at_work = None
        if not job.steps:
            self._finish(job)
        if filled := step.work.fills:
            try:
                self._store.evict(keep=self._stand_ins.get(filled, filled))
            except OSError:  # the cache may be in use or away; the jobs that wait are not its affair
                logger.exception("making room among the results")

    def _do(self, lane: _Lane, job: Job, step: Step) -> None:
        try:
            stored = self._stored(step.work)
            job.accept(step, self._answer(lane, job, step) if stored is None else stored)
        except UncertaintySegError as error:
            job.reject(step, error)

    def _stored(self, work: Work) -> Report | None:
        return self._store.report(self._stand_ins.get(work.key, work.key)) if work.key else None

    def _answer(self, lane: _Lane, job: Job, step: Step) -> Any:
        """Let the worker do a step; returns the report of its result, or what the work itself answers."""
        lane.worker.ready()
        started = time.monotonic()
        with self._changed:
            if job.state in ENDED:
                raise CancelledError
            future = lane.worker.submit(step.work)
            lane.at_work = (job, future, started)
        try:
            answer = future.result()
        except CancelledError:
            lane.worker.close()  # the next job must not meet a process that is about to be killed
            if self._open and lane is self._answering:
                lane.worker.warm_up()
            raise
        except (ProcessExpired, BrokenProcessPool, MemoryError) as error:
            logger.exception("the worker died under job %s", job.id)
            raise WorkerLostError(
                f"{job.model} ran out of memory on {step.image or 'the scan'}, or its process was killed. "
                "The server goes on; close other programs or crop the scan, then try again."
            ) from error
        lane.seconds[job.kind, job.model] = time.monotonic() - started
        if not step.work.key:
            return answer
        if answer != step.work.key:
            self._stand_ins[step.work.key] = answer
        report = self._store.report(answer)
        if report is None:
            raise StorageError("the result does not come back from the disk of the cache as it was written: look at it")
        return report

    def _finish(self, job: Job, error: Exception | None = None) -> None:
        with self._changed:
            if job.state not in ENDED:
                self._end(job, error)

    def _end(self, job: Job, error: Exception | None = None) -> None:
        if error is None:
            job.state = "done"
            job.outcome.set_result(job.result())
        else:
            job.state = "cancelled" if isinstance(error, JobCancelledError) else "failed"
            job.outcome.set_exception(error)

    def _lane(self, job: Job) -> _Lane:
        return self._training if job.long else self._answering

    def _waiting(self, lane: _Lane) -> list[Job]:
        """Jobs of a lane that have not ended, in the order in which they get its worker."""
        unfinished = [job for job in self._jobs.values() if job.state not in ENDED and self._lane(job) is lane]
        return sorted(unfinished, key=lambda job: (not lane.has(job), not job.urgent))

    def _standing(self, lane: _Lane, job: Job) -> tuple[str, float]:
        if job.state in ENDED:
            return job.state, 1.0 if job.state == "done" else 0.0
        if job.state == "queued":
            return "queued", 0.0
        done = job.total - len(job.steps)
        stage, part = lane.worker.progress() if lane.has(job) else ("waiting", 0.0)
        if job.total > 1:
            stage = f"{stage}, image {done + 1} of {job.total}"
        return stage, (done + part) / job.total

    def _eta(self, lane: _Lane, jobs: list[Job]) -> float | None:
        """Seconds until the last of `jobs` ends; None before anything is known.

        The step at work goes on as it began; each other one takes as long as the last of its kind with its model.
        """
        total = 0.0
        for job in jobs:
            left = len(job.steps)
            if lane.has(job) and (fraction := lane.worker.progress()[1]):
                total += (time.monotonic() - lane.at_work[2]) * (1 - fraction) / fraction
                left -= 1
            seconds = lane.seconds.get((job.kind, job.model)) or max(lane.seconds.values(), default=None)
            if left and seconds is None:
                return None
            total += left * (seconds or 0.0)
        return total

    def _forget_old(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.state in ENDED]
        for job_id in ended[:-_KEPT_JOBS]:
            del self._jobs[job_id]
