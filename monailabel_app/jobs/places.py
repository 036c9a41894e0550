"""Who is at what, and who gets what next: what somebody waits for first, on whichever device is free."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice

from monailabel_app.jobs.device import Device
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.lane import Doer, Lane

_LOOKED_AT = 8
"""Steps of a job that are looked at for one that can begin; a job may have ten thousand."""


class Places:
    """All lanes of the queue, whose lock guards them.

    Args:
        devices: What is done in steps is done on these, several at a time.
        trainer: Does the long jobs, one at a time.
    """

    def __init__(self, devices: Sequence[Device], trainer: Doer) -> None:
        self.devices, self.training = list(devices), Lane(trainer)
        for number, device in enumerate(self.devices):
            device.number = number
        self.lanes = [*(lane for device in self.devices for lane in device.lanes), self.training]

    @property
    def answering(self) -> list[Lane]:
        """Those for what somebody waits for."""
        return [device.answering for device in self.devices if device.answering]

    def at(self, job: Job) -> list[Lane]:
        """Lanes that do steps of a job."""
        return [lane for lane in self.lanes if lane.turn is job]

    def making(self, key: str | None) -> Lane | None:
        """The lane that makes a result."""
        return next((lane for lane in self.lanes if key and lane.makes == key), None)

    def makers(self, job: Job) -> list[Lane]:
        """Lanes that are at a job, or the one that makes what it needs next for another; none where nobody does."""
        at, elsewhere = self.at(job), self.making(job.steps[0].key) if job.steps else None
        return at or ([elsewhere] if elsewhere else [])

    def keys(self, job: Job) -> set[str | None]:
        """Of what is being made for a job, and of what is next."""
        return {lane.makes for lane in self.at(job)} | {step.key for step in job.steps}

    def open_to(self, job: Job) -> list[Hashable]:
        """Where the next step of a job may be done, as `place` of a lane; of one without, where its last one is."""
        if job.long:
            return [self.training.place]
        if not job.steps:
            return [lane.place for lane in self.at(job)]
        devices = self._devices(job, job.steps[0])
        return list(dict.fromkeys(lane.place for device in devices for lane in device.lanes))

    def tries(self, step: Step) -> int:
        """How many devices failed under a step, but for those with background work alone: others do it instead."""
        return sum(self.devices[number].answering is not None for number in step.failed_on)

    def hand_out(self, jobs: Sequence[Job]) -> None:
        """Give what waits to lanes that are free; nothing is made twice at a time.

        Nothing begins in the background of a device where somebody waits for what is being done.
        """
        for job in jobs:
            if job.long:
                if self.training.turn is None and job.steps:
                    self.training.take(job, job.steps.popleft())
            elif job.urgent:
                self._give(job)
        waiting = (job for job in jobs if not (job.long or job.urgent))
        for job in sorted(waiting, key=lambda job: job.prefetch_for is None):
            self._give(job)

    def pause(self, jobs: Sequence[Job]) -> None:
        """Let the background of devices stand still or go on: it goes on where somebody waits for just that."""
        needed = [lane for job in jobs if job.urgent for lane in self.makers(job)]
        for device in self.devices:
            for lane in device.backgrounds:
                lane.pause(not device.is_still and lane not in needed)

    def _give(self, job: Job) -> None:
        """Give as many steps of a job to lanes as there are for it."""
        while found := self._next(job):
            step, lane = found
            job.steps.remove(step)
            lane.take(job, step)

    def _next(self, job: Job) -> tuple[Step, Lane] | None:
        """A step and a lane for it; the first ones may wait for another lane than the next."""
        steps = (step for step in job.steps if self.making(step.key) is None)
        found = ((step, self._lane(job, step)) for step in islice(steps, _LOOKED_AT))
        return next((pair for pair in found if pair[1] is not None), None)

    def _lane(self, job: Job, step: Step) -> Lane | None:
        """A free one for a step, where its model is loaded, if it is."""
        devices = self._devices(job, step)
        free = list(self._urgent_lanes(devices) if job.urgent else self._background_lanes(devices))
        return min(free, key=lambda lane: (-lane.warmth(step.work), _disturbs(lane)), default=None)

    def _devices(self, job: Job, step: Step) -> list[Device]:
        """Where a step may be done: not on what is set aside, nor where it failed before, as long as there is another.

        One with background work alone gets all that it takes, so that the others are free for who waits.
        """
        able = [device for device in self.devices if device.takes(job, step)]
        able = [device for device in able if device.answering is None] or able
        usable = [device for device in able if not device.left_alone] or able
        return [device for device in usable if device.number not in step.failed_on] or usable

    @staticmethod
    def _urgent_lanes(devices: Sequence[Device]) -> Iterator[Lane]:
        return (device.answering for device in devices if device.answering and device.answering.turn is None)

    @staticmethod
    def _background_lanes(devices: Sequence[Device]) -> Iterator[Lane]:
        return (lane for device in devices if device.is_still for lane in device.backgrounds if lane.turn is None)


def _disturbs(lane: Lane) -> bool:
    """Whether something would have to stand still for it."""
    return lane is lane.device.answering and any(other.turn for other in lane.device.backgrounds)
