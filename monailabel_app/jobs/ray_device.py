"""A Ray cluster as one more device of the server: what nobody waits for goes there, as long as it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from monailabel_app.errors import ModelAwayError, NoRoomError
from monailabel_app.folders import without_folders
from monailabel_app.jobs.device import Device
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.lane import Doer, Lane
from monailabel_app.jobs.predict import Predict
from monailabel_app.jobs.ray_work import ByRay, Cluster
from monailabel_app.jobs.work import Work, kind_of
from monailabel_app.jobs.worker import Failure, Worker

logger = logging.getLogger(__name__)

_MODEL_AWAY_SECONDS = 600.0
"""For so long nothing with a model is handed to a cluster that does not have it."""


class RayWorker(Worker):
    """A process beside the server that keeps one actor of a cluster at work, and starts again after a cancel.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def submit(self, work: Work) -> Future[Any]:
        """Have an actor do a prediction. Cancelling the future ends the actor."""
        return super().submit(ByRay(work, self._cluster))

    def failure(self, error: Exception) -> Failure | None:
        """As of `Worker`; a model may be away as well, or all cores taken."""
        if isinstance(error, ModelAwayError):
            return "model"
        return "room" if isinstance(error, NoRoomError) else super().failure(error)


class RayDevice(Device):
    """Takes predictions that nobody waits for; what fails for the cluster's sake is done by the other devices.

    Corrected slices of the studies are read where the studies are, so what is shown them is not done here. Prefetches
    are for somebody soon, and are not either.

    Args:
        name: kind of torch device that its actors have, that of the server's own.
        workers: each keeps one actor at work.
        aside: as of `Device`.
    """

    def __init__(self, name: str, workers: Sequence[Doer], *, aside: float = 60.0) -> None:
        super().__init__(name, None, workers[0], aside=aside)
        self._lanes = [self.background, *(Lane(worker, self) for worker in workers[1:])]
        self._away: dict[Hashable, tuple[float, str]] = {}

    @property
    def backgrounds(self) -> list[Lane]:
        """One an actor."""
        return self._lanes

    def place(self, lane: Lane) -> Hashable:
        """Actors do not take turns."""
        return self.number, self._lanes.index(lane)

    def takes(self, job: Job, step: Step) -> bool:
        """Whether it may be done here."""
        work = step.work
        asked = not job.urgent and job.prefetch_for is None and isinstance(work, Predict) and work.shown is None
        return asked and kind_of(work.device) == self.name and self.number not in step.failed_on and self._has(work)

    def failed(self, failure: Failure, why: str, work: Work) -> bool:
        """Note a failure; all but want of memory is the cluster's."""
        if failure == "memory":
            return False
        if failure == "model":
            self._miss(work.loads, why)
        elif failure == "room" and sum(lane.at_work is not None for lane in self._lanes) > 1:
            logger.info("the Ray cluster has room for fewer workers than before; what this one had is done here")
        elif not self.left_alone:  # several are at work there, and all fail at once
            self._set_aside(why)
        return True

    def describe(self) -> dict[str, Any]:
        """What clients are told of it; the address is not theirs to know."""
        now = time.monotonic()
        away = [(until - now, why) for until, why in self._away.values() if until > now]
        told = super().describe() | {"device": "ray", "at_a_time": len(self._lanes)}
        if self.why is None and away:
            seconds, why = max(away)
            told |= {"set_aside": why, "again_in_s": round(seconds)}
        elif self.why is not None:
            told["set_aside"] = self.why.partition(": ")[2] if self.why.startswith("--ray ") else self.why
        return told | {"set_aside": told["set_aside"] and without_folders(told["set_aside"])}

    def _has(self, work: Work) -> bool:
        """Whether it is there, with the models that a work needs, as far as is known."""
        now = time.monotonic()
        return not self.left_alone and not any(self._away.get(model, (0.0, ""))[0] > now for model in work.loads)

    def _miss(self, models: Sequence[Hashable], why: str) -> None:
        now = time.monotonic()
        if not any(self._away.get(model, (0.0, ""))[0] > now for model in models):
            logger.warning("%s Until then what nobody waits for is done here.", why)
        self._away |= dict.fromkeys(models, (now + _MODEL_AWAY_SECONDS, why))

    def __str__(self) -> str:
        return f"{self.number} (ray)"
