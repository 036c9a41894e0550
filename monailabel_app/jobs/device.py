"""A device of the server: a process that answers and one for the background, and whether it can be relied on."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.lane import Doer, Lane
from monailabel_app.jobs.work import Work, kind_of
from monailabel_app.jobs.worker import Failure, Worker
from uncertaintyseg.workers.local import share_of_cores

logger = logging.getLogger(__name__)

_BACKGROUND_STANDS_BACK = 5
_STILLBORN = 2
"""Deaths in a row, before the work has begun, after which a device is set aside."""
_ASIDE_SECONDS, _LONGEST_ASIDE = 60.0, 3600.0


class Device:
    """Where work is done. The queue's lock guards it.

    Args:
        name: a torch device, such as cpu or cuda:1.
        answering: who does there what somebody waits for; None: nobody, it has background work alone.
        background: who does the rest; stands still while `answering` is at something.
        aside: seconds that it is left alone after a failure, twice as many after the next one, an hour at most.

    Attributes:
        number: its place among the others.
        done: pieces of work.
        why: why it was set aside, or None.
    """

    def __init__(self, name: str, answering: Doer | None, background: Doer, *, aside: float = _ASIDE_SECONDS) -> None:
        self.name, self.number, self.done = name, 0, 0
        self.answering = Lane(answering, self) if answering else None
        self.background = Lane(background, self)
        self.why: str | None = None
        self._aside, self._until = aside, 0.0
        self._stillborn = self._failures = 0

    @property
    def backgrounds(self) -> list[Lane]:
        """Those for what nobody waits for."""
        return [self.background]

    @property
    def lanes(self) -> list[Lane]:
        """Those that there are."""
        return [*([self.answering] if self.answering else []), *self.backgrounds]

    def place(self, lane: Lane) -> Hashable:  # noqa: ARG002 - of others
        """Names what lanes share that have to take turns: here all of them the device."""
        return self.number

    def takes(self, job: Job, step: Step) -> bool:  # noqa: ARG002 - of others
        """Whether a step may be done here at all."""
        return self.answering is not None or not job.urgent

    @property
    def left_alone(self) -> float:
        """Seconds until it is tried again; 0 where it may be used."""
        return max(0.0, self._until - time.monotonic())

    @property
    def is_still(self) -> bool:
        """Whether nobody waits for what it is at."""
        return self.answering is None or self.answering.turn is None

    def worked(self) -> None:
        """Note that a piece of work is done here."""
        if self.why is not None:
            logger.warning("device %s works again", self)
        self.done += 1
        self.why, self._until, self._stillborn, self._failures = None, 0.0, 0, 0

    def failed(self, failure: Failure, why: str, work: Work) -> bool:  # noqa: ARG002 - of others
        """Note a failure under a piece of work; returns whether it was the device's, so that another should try."""
        if failure == "device":
            self._set_aside(why)
        elif failure == "start":
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                self._set_aside(f"its process ends before it begins to work ({why})")
        else:
            self._stillborn = 0
        return failure in ("device", "start")

    def _set_aside(self, why: str) -> None:
        seconds = min(self._aside * 2**self._failures, _LONGEST_ASIDE)
        self._failures += 1
        self.why, self._until = why, time.monotonic() + seconds
        logger.error("device %s is set aside for %.0f s where there are others: %s", self, seconds, why)

    def describe(self) -> dict[str, Any]:
        """What clients are told of it."""
        told = {"device": self.name, "done": self.done, "busy": any(lane.turn for lane in self.lanes)}
        return told | {"set_aside": self.why, "again_in_s": round(self.left_alone) if self.why else None}

    def __str__(self) -> str:
        return f"{self.number} ({self.name})"


def local_devices(names: Sequence[str]) -> list[Device]:
    """Devices of this machine with their processes; those of several on the CPU share its cores."""
    many = Counter(map(kind_of, names))["cpu"]
    threads = _threads(many) if many > 1 else None
    return [
        Device(
            name,
            Worker(device=name, threads=threads),
            Worker(_BACKGROUND_STANDS_BACK, device=name, threads=threads),
        )
        for name in names
    ]


def _threads(processes: int) -> int:
    """Threads that each of several processes gets: its share, but no more than whoever started the server wants."""
    share, asked = share_of_cores(processes), os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share
