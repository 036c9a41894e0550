"""Who is at what, and who gets what next: what somebody waits for first, on whichever device is free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monailabel_app.jobs.device import Device
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.lane import Doer, Lane


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

    @property
    def usable(self) -> list[Device]:
        """Those that are not set aside; all, where all are."""
        return [device for device in self.devices if not device.left_alone] or self.devices

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
            device.background.pause(not device.is_still and device.background not in needed)

    def _give(self, job: Job) -> None:
        """Give as many steps of a job to lanes as there are for it."""
        while (step := self._next(job)) and (lane := self._lane(job, step)):
            job.steps.remove(step)
            lane.take(job, step)

    def _next(self, job: Job) -> Step | None:
        return next((step for step in job.steps if self.making(step.key) is None), None)

    def _lane(self, job: Job, step: Step) -> Lane | None:
        """A free one for a step: not where it failed before, if possible, and where its model is loaded, if it is."""
        devices = [device for device in self.usable if device.number not in step.failed_on] or self.usable
        free = list(self._urgent_lanes(devices) if job.urgent else self._background_lanes(devices))
        return min(free, key=lambda lane: (-lane.warmth(step.work), _disturbs(lane)), default=None)

    @staticmethod
    def _urgent_lanes(devices: Sequence[Device]) -> Iterator[Lane]:
        return (device.answering for device in devices if device.answering and device.answering.turn is None)

    @staticmethod
    def _background_lanes(devices: Sequence[Device]) -> Iterator[Lane]:
        return (device.background for device in devices if device.is_still and device.background.turn is None)


def _disturbs(lane: Lane) -> bool:
    """Whether something would have to stand still for it."""
    return lane is not lane.device.background and lane.device.background.turn is not None
