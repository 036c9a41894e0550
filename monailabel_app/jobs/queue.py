"""The queue: what somebody waits for in order of arrival, the rest when nobody waits, training beside it.

What nobody waits for has a process of its own on each device. It stands still between two windows as long as there
is urgent work on that device, and goes on afterwards: nothing is made twice, and what it makes is the same bit for bit.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Any

from monailabel_app.errors import DeviceFailedError, JobCancelledError, NotFoundError, WorkerLostError, told
from monailabel_app.jobs.device import Device
from monailabel_app.jobs.job import ENDED, Job, Step
from monailabel_app.jobs.lane import Doer, Lane
from monailabel_app.jobs.places import Places
from monailabel_app.jobs.results import Report, ResultStore
from monailabel_app.jobs.standing import line_of, seconds_left, standing
from monailabel_app.jobs.work import Work
from monailabel_app.jobs.worker import Failure
from uncertaintyseg import wire
from uncertaintyseg.errors import StorageError, UncertaintySegError

logger = logging.getLogger(__name__)

_KEPT_JOBS = 100
"""Jobs that have ended and can still be asked for; each holds its whole result."""
_DECODING_ENDS = 10.0
"""Seconds that a server which stops waits for a scan that is decoded for a job."""
_STOPPING = "the server is stopping"
_TRIES = 2
"""Devices that a step may fail on before it is taken to be its own fault."""


class _AgainError(Exception):
    """A step is done once more, for what failed was the device."""

    def __init__(self, step: Step) -> None:
        self.step = step


class JobQueue:
    """Runs jobs on workers. Safe to call from any thread; none of its methods waits for a job.

    Args:
        store: Where workers put results. A result that is there is not computed again.
        devices: Where jobs run: several at a time, and several steps of a job. The first ones are preferred.
        trainer: The process for long jobs.
    """

    def __init__(self, store: ResultStore, devices: Sequence[Device], trainer: Doer) -> None:
        self._store = store
        self._places = Places(devices, trainer)
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._stand_ins: dict[str, str] = {}  # keys of results for which another had to stand in
        self._open = True
        self.on_submit: Callable[[Job], None] = lambda _job: None  # raises to refuse a job
        self.on_made: Callable[[Step], None] = lambda _step: None  # told of each step whose result is known only later
        self._threads = [threading.Thread(target=self._run, args=(lane,), daemon=True) for lane in self._places.lanes]
        for thread in self._threads:
            thread.start()

    def warm_up(self) -> None:
        """Start the answering processes before the first jobs need them."""
        for lane in self._places.answering:
            lane.worker.warm_up()

    @property
    def warming_up(self) -> bool:
        """Whether a job that comes now waits for that."""
        return all(lane.worker.warming_up for lane in self._places.answering)

    def describe_devices(self) -> list[dict[str, Any]]:
        """Say of each device how much it has done and whether it is set aside."""
        with self._changed:
            return [device.describe() for device in self._places.devices]

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
            steps = [step for job in self._unfinished() for step in job.steps]
            steps += [lane.step for lane in self._places.lanes if lane.step]
        return {file for step in steps if step.make is None for file in step.work.files}

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
            line = line_of(job, self._unfinished(), self._places)
            ahead = line[: line.index(job)] if job in line else []
            state = "running" if job.state == "queued" and self._places.makers(job) else job.state
            stage, fraction = standing(job, self._places)
            error = job.outcome.exception() if job.outcome.done() else None
            return wire.Job(
                id=job.id,
                kind=job.kind,
                state=state,
                queue_position=len(ahead) if state == "queued" else 0,
                fraction=fraction,
                stage=stage,
                eta_s=seconds_left([*ahead, job], self._places) if job in line else None,
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
        for lane in self._places.lanes:
            lane.end()

    def _run(self, lane: Lane) -> None:
        while self._has_turn(lane):
            self._advance(lane, lane.turn, lane.step)

    def _has_turn(self, lane: Lane) -> bool:
        """Wait for something to do; False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: lane.turn is not None or not self._open)
            return self._open

    def _advance(self, lane: Lane, job: Job, step: Step) -> None:
        """Make or do a step; what goes before the job then comes before the rest of it."""
        again = None
        try:
            again = self._do(lane, job, step) if step.make is None else self._made(job, step)
        except CancelledError:
            logger.info("%s job %s (%s) was cancelled", job.kind, job.id, job.model)
        except Exception as error:  # the queue outlives any bug
            if isinstance(error, UncertaintySegError):  # a client gets less
                logger.warning("%s job %s (%s): %s", job.kind, job.id, job.model, error)
            else:
                logger.exception("%s job %s (%s)", job.kind, job.id, job.model)
            self._finish(job, error)
        with self._changed:
            lane.leave()
            if again is not None:  # its result may be somebody else's at this very moment
                job.steps.appendleft(again)
            if not (job.steps or self._places.at(job)):
                self._finish(job)
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
            with job.taking:
                job.reject(step, error)
            return None
        self.on_made(made)
        return made

    def _do(self, lane: Lane, job: Job, step: Step) -> Step | None:
        """Do a step; returns it where it is done again, because the device failed."""
        if job.state in ENDED:  # since it got its turn
            return None
        try:
            stored = self._stored(step.work)
            answer = self._answer(lane, job, step) if stored is None else stored
            with job.taking:
                if job.state not in ENDED:
                    job.accept(step, answer)
        except _AgainError as again:
            return again.step
        except UncertaintySegError as error:
            with job.taking:
                job.reject(step, error)
        return None

    def _stored(self, work: Work) -> Report | None:
        return self._store.report(self._stand_ins.get(work.key, work.key)) if work.key else None

    def _answer(self, lane: Lane, job: Job, step: Step) -> Any:
        """Let the worker do a step; returns the report of its result, or what the work itself answers."""
        try:
            answer = self._begun(lane, job, step).result()
        except CancelledError:
            if lane.at_work is not None:
                self._begin_anew(lane)  # the next job must not meet a process that is about to be killed
            raise
        except Exception as error:
            failure = lane.worker.failure(error)
            if failure is None:
                raise
            raise self._failed(lane, job, step, failure, error) from error
        with self._changed:
            lane.did()
        if not step.work.key:
            return answer
        if answer != step.work.key:
            self._stand_ins[step.work.key] = answer
        report = self._store.report(answer)
        if report is None:
            raise StorageError("the result does not come back from the disk of the cache as it was written: look at it")
        return report

    def _begun(self, lane: Lane, job: Job, step: Step) -> Future[Any]:
        lane.worker.ready()
        with self._changed:
            if job.state in ENDED:
                raise CancelledError
            return lane.begin(step.work)

    def _begin_anew(self, lane: Lane) -> None:
        lane.end()
        if self._open and lane in self._places.answering:
            lane.worker.warm_up()

    def _failed(self, lane: Lane, job: Job, step: Step, failure: Failure, error: Exception) -> Exception:
        """What comes of a step whose worker failed: it is done again where that was not its own fault."""
        where = "the trainer" if lane.device is None else f"the worker on device {lane.device}"
        spare = lane.device is not None and lane.device.answering is None  # it says by itself what is wrong, once
        logger.log(logging.INFO if spare else logging.ERROR, "%s failed under job %s", where, job.id, exc_info=error)
        if failure == "device":
            self._begin_anew(lane)
        with self._changed:
            if lane.device is not None and lane.device.failed(failure, str(error), step.work):
                step = replace(step, failed_on=(*step.failed_on, lane.device.number))
                if self._places.tries(step) < _TRIES:
                    return _AgainError(step)
        if isinstance(error, DeviceFailedError):
            return error
        return WorkerLostError(
            f"{job.model} ran out of memory on {step.image or 'the scan'}, or its process was killed. "
            "The server goes on; close other programs or crop the scan, then try again."
        )

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
        """End a job without result, and kill the processes that are at it."""
        self._end(job, JobCancelledError(reason))
        for lane in self._places.at(job):
            if lane.at_work is not None:
                lane.at_work.future.cancel()

    def _drop_prefetches(self, annotator: str) -> None:
        """So that nobody's keep those of others, and scores, from their turn; one that somebody waits for goes on."""
        wanted = {key for job in self._unfinished() if job.urgent for key in self._places.keys(job) if key}
        for job in self._unfinished():
            if job.prefetch_for == annotator and not self._places.keys(job) & wanted:
                self._stop(job, "a newer prefetch took its place")

    def _unfinished(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state not in ENDED]

    def _look_again(self) -> None:
        """After every change: give work to whoever is free, and let the background stand still or go on."""
        jobs = self._unfinished()
        self._places.hand_out(jobs)
        self._places.pause(jobs)
        self._changed.notify_all()

    def _forget_old(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.state in ENDED]
        for job_id in ended[:-_KEPT_JOBS]:
            del self._jobs[job_id]
