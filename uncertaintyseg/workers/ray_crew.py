"""Workers of a Ray cluster, an actor each. They answer with arrays and JSON, and open no datastore."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Hashable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError

from uncertaintyseg import NUMBERS, __version__
from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.workers.crew import Answer, Crew, Heard, Task
from uncertaintyseg.workers.serving import answer, begin, limit_threads, prepared

logger = logging.getLogger(__name__)
_PATIENCE = 5.0
"""Seconds that `hear` waits at most."""
_ROOM = 60.0
"""Seconds that workers wait for cores before the cluster is taken to have none."""


class NoRoomError(UncertaintySegError):
    """Nothing of the cluster is free."""


class _Actor:
    """What runs on a node."""

    def about(self, threads: int) -> tuple[str, int, str]:
        """Begin, before a task brings torch with it; our version, that of our numbers, and the node's name."""
        begin(threads)
        return __version__, NUMBERS, platform.node()

    def prepare(self, task: Task, number: int, threads: int) -> Answer | None:
        """Get ready; None when it is."""
        do = prepared(task, number)
        limit_threads(threads)
        if isinstance(do, Answer):
            return Answer(do.kind, f"node {platform.node()}: {do.value}")
        self.do = do
        return None

    def work(self, item: Any) -> Answer:
        """Do an item."""
        return answer(self.do, item, lambda stage, fraction: None)


class RayCrew(Crew):
    """Actors of the cluster that this process is connected to (`ray_cluster.connected`).

    Args:
        size: how many.
        threads: cores that each takes, and threads that it uses.
        gpus: of each, 0 or 1.
        pack: what is sent in place of an item; raises `InputError` for one that cannot be.
    """

    shared_memory = False
    where = "of the Ray cluster"

    def __init__(self, size: int, threads: int, gpus: int = 0, pack: Callable[[Any], Any] | None = None) -> None:
        self._pack = pack
        self.size, self.threads, self.gpus = size, threads, gpus
        options = {"num_cpus": threads, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._kind = ray.remote(**options)(_Actor)
        self._actors: dict[Hashable, ActorHandle] = {}
        self._tasks: dict[Hashable, tuple[int, Task]] = {}
        self._pending: dict[ray.ObjectRef, tuple[Hashable, str]] = {}
        """Who will answer what, by what is awaited."""
        self._started, self._told = 0, False
        self._since = time.monotonic()

    def start(self, number: int, task: Task) -> Hashable:
        """Ask for an actor."""
        self._started += 1
        worker = self._started
        actor = self._actors[worker] = self._kind.remote()
        self._tasks[worker] = number, task
        self._pending[actor.about.remote(self.threads)] = worker, "about"
        self._since = time.monotonic()
        return worker

    def give(self, worker: Hashable, item: Any) -> None:
        """Send an item."""
        try:
            sent = self._actors[worker].work.remote(item if self._pack is None else self._pack(item))
        except InputError as error:
            sent = ray.put(Answer("unusable", str(error)))
        self._pending[sent] = worker, "work"

    def hear(self) -> list[Heard]:
        """Wait for news."""
        done, _ = ray.wait(list(self._pending), num_returns=1, timeout=_PATIENCE)
        news = [heard for ref in done if (heard := self._read(ref)) is not None]
        if done:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _ROOM:
            self._look_for_room()
        return news

    def end(self, worker: Hashable) -> None:
        """Kill an actor."""
        ray.kill(self._actors.pop(worker))
        self._pending = {ref: about for ref, about in self._pending.items() if about[0] != worker}

    def close(self) -> None:
        """Kill all."""
        for worker in list(self._actors):
            self.end(worker)

    def _read(self, ref: ray.ObjectRef) -> Heard | None:
        worker, kind = self._pending.pop(ref)
        try:
            said = ray.get(ref, timeout=_PATIENCE)
        except GetTimeoutError:  # what it refers to is lost with its node, or slow to come: ask again
            self._pending[ref] = worker, kind
            return None
        except RayError as error:
            self.end(worker)
            if kind == "about" and "ModuleNotFoundError" in str(error):
                raise UncertaintySegError(
                    f"a node of the Ray cluster cannot import uncertaintyseg: install version {__version__} on every "
                    "node, into the Python that its Ray runs in."
                ) from error
            return Heard(worker, "died", _how(error))
        if kind == "work":
            return Heard(worker, "answer", said)
        if kind == "prepare":
            return Heard(worker, "ready") if said is None else Heard(worker, "answer", said)
        version, numbers, node = said
        if (version, numbers) != (__version__, NUMBERS):
            raise UncertaintySegError(
                f"node {node} of the Ray cluster has uncertaintyseg {version} (numbers {numbers}), this machine "
                f"{__version__} ({NUMBERS}): install the same on both."
            )
        number, task = self._tasks[worker]
        self._pending[self._actors[worker].prepare.remote(task, number, self.threads)] = worker, "prepare"
        return None

    def _look_for_room(self) -> None:
        """After a while without news: whether workers wait for cores, all of them or some."""
        waiting = sum(kind == "about" for _, kind in self._pending.values())
        if 0 < waiting < len(self._pending) and not self._told:
            self._told = True
            logger.warning("the Ray cluster has no room for %d of %d workers; the others go on", waiting, self.size)
        if waiting < len(self._pending):
            return
        free = ray.available_resources()
        raise NoRoomError(
            f"the Ray cluster has had no room for a worker of {self.threads} cores"
            f"{' and a GPU' if self.gpus else ''} for {_ROOM:.0f} seconds; {free.get('CPU', 0):g} cores and "
            f"{free.get('GPU', 0):g} GPUs are free. Ask for fewer workers or threads, or wait for other work to end."
        )


def _how(error: RayError) -> str:
    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory"
    if isinstance(error, RayActorError):
        return "its process or its node ended"
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"
