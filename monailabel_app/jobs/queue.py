"""The queue: inferences in order of arrival, scoring when nobody waits, one prediction at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool

from pebble import ProcessExpired

from monailabel_app.errors import JobCancelledError, NotFoundError, WorkerLostError
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.worker import Worker
from uncertaintyseg import wire
from uncertaintyseg.errors import UncertaintySegError

logger = logging.getLogger(__name__)

_KEPT_JOBS = 500
_STOPPING = "the server is stopping"
ENDED = ("done", "failed", "cancelled")


class JobQueue:
    """Runs jobs on a worker. Safe to call from any thread; none of its methods waits for a prediction.

    Args:
        store: Where the worker puts results. A result that is there is not computed again.
        worker: The process that predicts.
    """

    def __init__(self, store: ResultStore, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._at_work: tuple[Job, Future[None], float] | None = None
        self._seconds: dict[str, float] = {}  # a model's last prediction
        self._open = True
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Start the worker process before the first job needs it."""
        self._worker.warm_up()

    def submit(self, job: Job) -> Job:
        """Add a job. One whose results are all in the store ends at once, whatever else waits.

        Raises:
            JobCancelledError: The queue is closed.
        """
        while job.steps and (report := self._store.report(job.steps[0].task.key)) is not None:
            job.accept(job.steps.popleft(), report)
        with self._changed:
            if not self._open:
                raise JobCancelledError(_STOPPING)
            self._jobs[job.id] = job
            if not job.steps:
                self._end(job)
            self._forget_old()
            self._changed.notify()
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
            if self._at_work is not None and self._at_work[0] is job:
                self._at_work[1].cancel()

    def describe(self, job_id: str) -> wire.Job:
        """Say where a job stands."""
        job = self.get(job_id)
        with self._changed:
            waiting = self._waiting()
            ahead = waiting[: waiting.index(job)] if job in waiting else []
            stage, fraction = self._standing(job)
            error = job.outcome.exception() if job.outcome.done() else None
            return wire.Job(
                id=job.id,
                kind=job.kind,
                state=job.state,
                queue_position=len(ahead) if job.state == "queued" else 0,
                fraction=fraction,
                stage=stage,
                eta_s=self._eta([*ahead, job]) if job in waiting else None,
                result=job.outcome.result() if job.state == "done" else None,
                error=None if error is None else str(error),
            )

    def close(self) -> None:
        """Cancel everything and kill the worker. A second call changes nothing."""
        with self._changed:
            self._open = False
            for job in self._waiting():
                self._end(job, JobCancelledError(_STOPPING))
            if self._at_work is not None:
                self._at_work[1].cancel()
            self._changed.notify()
        self._thread.join()
        self._worker.close()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._advance(job)

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting() or not self._open)
            if not self._open:
                return None
            job = self._waiting()[0]
            job.state = "running"
            return job

    def _advance(self, job: Job) -> None:
        """Do the job's next step; an infer job that arrives meanwhile goes before the step after it."""
        try:
            self._do(job, job.steps[0])
        except CancelledError:
            logger.info("job %s (%s) was cancelled", job.id, job.model)
        except Exception as error:  # the queue outlives any bug
            if not isinstance(error, UncertaintySegError):
                logger.exception("job %s (%s)", job.id, job.model)
            self._finish(job, error)
        with self._changed:
            job.steps.popleft()
            self._at_work = None
        if not job.steps:
            self._finish(job)

    def _do(self, job: Job, step: Step) -> None:
        try:
            report = self._store.report(step.task.key) or self._predict(job, step)
        except UncertaintySegError as error:
            job.reject(step, error)
        else:
            job.accept(step, report)

    def _predict(self, job: Job, step: Step) -> Report:
        self._worker.ready()
        started = time.monotonic()
        with self._changed:
            if job.state in ENDED:
                raise CancelledError
            future = self._worker.submit(step.task)
            self._at_work = (job, future, started)
        try:
            future.result()
        except CancelledError:
            self._worker.close()  # the next job must not meet a process that is about to be killed
            if self._open:
                self._worker.warm_up()
            raise
        except (ProcessExpired, BrokenProcessPool, MemoryError) as error:
            logger.exception("the worker died under job %s", job.id)
            raise WorkerLostError(
                f"{job.model} ran out of memory on {step.image or 'the scan'}, or its process was killed. "
                "The server goes on; close other programs or crop the scan, then try again."
            ) from error
        self._seconds[job.model] = time.monotonic() - started
        self._store.evict(keep=step.task.key)
        report = self._store.report(step.task.key)
        assert report is not None
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

    def _waiting(self) -> list[Job]:
        """Jobs that have not ended, in the order in which they get the worker."""
        unfinished = [job for job in self._jobs.values() if job.state not in ENDED]
        at_work = self._at_work[0] if self._at_work is not None else None
        return sorted(unfinished, key=lambda job: (job is not at_work, job.kind != "infer"))

    def _standing(self, job: Job) -> tuple[str, float]:
        if job.state in ENDED:
            return job.state, 1.0 if job.state == "done" else 0.0
        if job.state == "queued":
            return "queued", 0.0
        done = job.total - len(job.steps)
        stage, part = self._worker.progress() if self._is_at_work(job) else ("waiting", 0.0)
        if job.total > 1:
            stage = f"{stage}, image {done + 1} of {job.total}"
        return stage, (done + part) / job.total

    def _eta(self, jobs: list[Job]) -> float | None:
        """Seconds until the last of `jobs` ends; None before anything is known.

        The prediction at work goes on as it began; each other one takes as long as its model's last.
        """
        total = 0.0
        for job in jobs:
            left = len(job.steps)
            if self._is_at_work(job) and (fraction := self._worker.progress()[1]):
                total += (time.monotonic() - self._at_work[2]) * (1 - fraction) / fraction
                left -= 1
            seconds = self._seconds.get(job.model) or max(self._seconds.values(), default=None)
            if left and seconds is None:
                return None
            total += left * (seconds or 0.0)
        return total

    def _is_at_work(self, job: Job) -> bool:
        return self._at_work is not None and self._at_work[0] is job

    def _forget_old(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.state in ENDED]
        for job_id in ended[:-_KEPT_JOBS]:
            del self._jobs[job_id]
