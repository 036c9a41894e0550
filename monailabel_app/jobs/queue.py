"""The queue: what somebody waits for in order of arrival, the rest when nobody waits, training beside it.

What nobody waits for has a process of its own on the same device. It stands still between two windows as long as there
is urgent work, and goes on afterwards: nothing is made twice, and what it makes is the same bit for bit.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired

from monailabel_app.errors import JobCancelledError, NotFoundError, WorkerLostError, told
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.lane import Lane
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Worker
from uncertaintyseg import wire
from uncertaintyseg.errors import StorageError, UncertaintySegError

logger = logging.getLogger(__name__)

_KEPT_JOBS = 100
"""Jobs that have ended and can still be asked for; each holds its whole result."""
_DECODING_ENDS = 10.0
"""Seconds that a server which stops waits for a scan that is decoded for a job."""
_STOPPING = "the server is stopping"
ENDED = ("done", "failed", "cancelled")


class JobQueue:
    """Runs jobs on workers. Safe to call from any thread; none of its methods waits for a job.

    Args:
        store: Where workers put results. A result that is there is not computed again.
        worker: The process that answers.
        background: The process for what nobody waits for: scores, batches, prefetches.
        trainer: The process for long jobs.
    """

    def __init__(self, store: ResultStore, worker: Worker, background: Worker, trainer: Worker) -> None:
        self._store = store
        self._answering, self._background, self._training = Lane(worker), Lane(background), Lane(trainer)
        self._lanes = (self._answering, self._background, self._training)
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._stand_ins: dict[str, str] = {}  # keys of results for which another had to stand in
        self._open = True
        self.on_submit: Callable[[Job], None] = lambda _job: None  # raises to refuse a job
        self.on_made: Callable[[Step], None] = lambda _step: None  # told of each step whose result is known only later
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

        One for whose end somebody looks, and whose results are all in the store, ends at once, whatever else waits. A
        prefetch takes the place of an older one for the same annotator, and becomes urgent with the first who joins it
        because they wait.

        Raises:
            JobCancelledError: The queue is closed.
        """
        self.on_submit(job)
        at_once = job.urgent or job.prefetch_for is not None
        while at_once and job.steps and (report := self._stored(job.steps[0].work)) is not None:
            job.accept(job.steps.popleft(), report)
        with self._changed:
            if not self._open:
                raise JobCancelledError(_STOPPING)
            for other in self._jobs.values():
                if job.same is not None and other.same == job.same and other.state not in ENDED:
                    other.waiting += 1
                    other.owners |= job.owners
                    if job.urgent and not other.urgent:
                        other.urgent, other.prefetch_for = True, None
                        self._look_again()
                    return other
            if job.steps and job.prefetch_for is not None:
                self._drop_prefetches(job.prefetch_for)
            self._jobs[job.id] = job
            if not job.steps:
                self._end(job)
            self._forget_old()
            self._look_again()
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

    def files(self) -> set[str]:
        """Scans that jobs which have not ended read, or are about to."""
        with self._changed:
            works = [step.work for job in self._unfinished() for step in job.steps if step.make is None]
        return {file for work in works for file in work.files}

    def cancel(self, job_id: str) -> None:
        """End a queued or running job without result; one that has ended stays as it is."""
        job = self.get(job_id)
        with self._changed:
            if job.state in ENDED:
                return
            self._stop(job, f"the {job.kind} job {job.id} was cancelled")
            self._look_again()

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
            line = self._line(job)
            ahead = line[: line.index(job)] if job in line else []
            state = "running" if job.state == "queued" and self._maker(job) else job.state
            stage, fraction = self._standing(job)
            error = job.outcome.exception() if job.outcome.done() else None
            return wire.Job(
                id=job.id,
                kind=job.kind,
                state=state,
                queue_position=len(ahead) if state == "queued" else 0,
                fraction=fraction,
                stage=stage,
                eta_s=self._eta([*ahead, job]) if job in line else None,
                result=job.outcome.result() if job.state == "done" else None,
                error=None if error is None else told(error),
            )

    def close(self) -> None:
        """Cancel everything and kill the workers. A second call changes nothing."""
        with self._changed:
            self._open = False
            for job in self._unfinished():
                self._stop(job, _STOPPING)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_DECODING_ENDS)
        for lane in self._lanes:
            lane.worker.close()

    def _run(self, lane: Lane) -> None:
        while (job := self._next(lane)) is not None:
            self._advance(lane, job)

    def _next(self, lane: Lane) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready(lane) or not self._open)
            if not self._open:
                return None
            job = lane.turn = self._ready(lane)
            job.state = "running"
            self._look_again()
            return job

    def _advance(self, lane: Lane, job: Job) -> None:
        """Make or do the job's next step; one of the same lane that goes before it comes before the step after it."""
        step, made = job.steps[0], None
        try:
            if step.make is None:
                self._do(lane, job, step)
            else:
                made = self._made(job, step)
        except CancelledError:
            logger.info("%s job %s (%s) was cancelled", job.kind, job.id, job.model)
        except Exception as error:  # the queue outlives any bug
            if isinstance(error, UncertaintySegError):  # a client gets less
                logger.warning("%s job %s (%s): %s", job.kind, job.id, job.model, error)
            else:
                logger.exception("%s job %s (%s)", job.kind, job.id, job.model)
            self._finish(job, error)
        with self._changed:
            job.steps.popleft()
            if made is not None:  # it may be somebody else's at this very moment
                job.steps.appendleft(made)
            if not job.steps:
                self._finish(job)
            lane.turn = lane.at_work = None
            self._look_again()
        if step.make is None and (filled := step.work.fills):
            try:
                self._store.evict(keep=self._stand_ins.get(filled, filled))
            except OSError:  # the cache may be in use or away; the jobs that wait are not its affair
                logger.exception("making room among the results")

    def _made(self, job: Job, step: Step) -> Step | None:
        """A step with its work, None where it cannot be had and the job goes on."""
        try:
            made = step.made()
        except UncertaintySegError as error:
            job.reject(step, error)
            return None
        self.on_made(made)
        return made

    def _do(self, lane: Lane, job: Job, step: Step) -> None:
        try:
            stored = self._stored(step.work)
            job.accept(step, self._answer(lane, job, step) if stored is None else stored)
        except UncertaintySegError as error:
            job.reject(step, error)

    def _stored(self, work: Work) -> Report | None:
        return self._store.report(self._stand_ins.get(work.key, work.key)) if work.key else None

    def _answer(self, lane: Lane, job: Job, step: Step) -> Any:
        """Let the worker do a step; returns the report of its result, or what the work itself answers."""
        lane.worker.ready()
        with self._changed:
            if job.state in ENDED:
                raise CancelledError
            future = lane.begin(step.work)
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
        with self._changed:
            lane.seconds[job.kind, job.model] = lane.elapsed
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

    def _stop(self, job: Job, reason: str) -> None:
        """End a job without result, and kill the process that is at it."""
        self._end(job, JobCancelledError(reason))
        for lane in self._lanes:
            if lane.turn is job and lane.at_work is not None:
                lane.at_work.future.cancel()

    def _drop_prefetches(self, annotator: str) -> None:
        """So that nobody's keep those of others, and scores, from their turn; one that somebody waits for goes on."""
        wanted = {job.steps[0].key for job in self._unfinished() if job.urgent and job.steps}
        for job in self._unfinished():
            if job.prefetch_for == annotator and job.steps and job.steps[0].key not in wanted:
                self._stop(job, "a newer prefetch took its place")

    def _unfinished(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state not in ENDED]

    def _lane(self, job: Job) -> Lane:
        for lane in self._lanes:
            if lane.turn is job:  # it may have become urgent in the background
                return lane
        if job.long:
            return self._training
        return self._answering if job.urgent else self._background

    def _maker(self, job: Job) -> Lane | None:
        """Whose worker makes what a job needs next, even if for another job; None where nobody is at it."""
        key = job.steps[0].key if job.steps else None
        return next((lane for lane in self._lanes if lane.turn is job or (key and lane.makes == key)), None)

    def _ready(self, lane: Lane) -> Job | None:
        """The job whose turn it is: nothing begins in the background meanwhile, and nothing is made twice at a time."""
        if lane is self._background and self._answering.turn is not None:
            return None
        waiting = [job for job in self._unfinished() if job.steps and self._lane(job) is lane]
        waiting.sort(key=lambda job: job.prefetch_for is None)
        return next((job for job in waiting if self._maker(job) is None), None)

    def _look_again(self) -> None:
        """After every change: wake who waits for a turn, and let the background stand still or go on."""
        urgent = [job for job in self._unfinished() if job.urgent]
        needed = any(self._maker(job) is self._background for job in urgent)
        self._background.pause(self._answering.turn is not None and not needed)
        self._changed.notify_all()

    def _line(self, job: Job) -> list[Job]:
        """The jobs that share a device with one and have not ended, in the order in which they get it."""
        line = [other for other in self._unfinished() if other.long == job.long]
        return sorted(line, key=lambda job: (not job.urgent, self._maker(job) is None, job.prefetch_for is None))

    def _standing(self, job: Job) -> tuple[str, float]:
        if job.state in ENDED:
            return job.state, 1.0 if job.state == "done" else 0.0
        maker = self._maker(job)
        if job.state == "queued" and maker is None:
            return "queued", 0.0
        done = job.total - len(job.steps)
        at_work = maker is not None and maker.at_work is not None
        stage, part = maker.worker.progress() if at_work else ("waiting", 0.0)
        if job.total > 1:
            stage = f"{stage}, image {done + 1} of {job.total}"
        return stage, (done + part) / job.total

    def _eta(self, jobs: list[Job]) -> float | None:
        """Seconds until the last of `jobs` ends; None before anything is known.

        The step at work goes on as it began; each other one takes as long as the last of its kind with its model.
        """
        total = 0.0
        known = {name: took for lane in self._lanes for name, took in lane.seconds.items()}
        for job in jobs:
            left, maker = len(job.steps), self._maker(job)
            if maker and maker.at_work and (fraction := maker.worker.progress()[1]):
                total += maker.elapsed * (1 - fraction) / fraction
                left -= 1
            seconds = known.get((job.kind, job.model)) or max(known.values(), default=None)
            if left and seconds is None:
                return None
            total += left * (seconds or 0.0)
        return total

    def _forget_old(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.state in ENDED]
        for job_id in ended[:-_KEPT_JOBS]:
            del self._jobs[job_id]
