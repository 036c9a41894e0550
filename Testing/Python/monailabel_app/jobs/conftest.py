"""A queue over real worker processes, whose work ends when the test says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from monailabel_app.jobs import Device, Job, JobQueue, Step, Worker
from Testing.Python.monailabel_app.jobs.works import Hold
from Testing.Python.servers import poll
from uncertaintyseg.errors import UncertaintySegError


class Noted(Job):
    """A job that keeps what it is given.

    Attributes:
        answers: of each step by name, in the order of their ends.
        errors: likewise.
    """

    kind = "batch"

    def __init__(self, steps: Sequence[Step], *, urgent: bool) -> None:
        super().__init__("model", steps)
        self.urgent = urgent
        self.answers: list[tuple[str | None, Any]] = []
        self.errors: dict[str | None, UncertaintySegError] = {}

    def accept(self, step: Step, answer: Any) -> None:
        """Keep it."""
        self.answers.append((step.image, answer))

    def reject(self, step: Step, error: UncertaintySegError) -> None:
        """Keep it; somebody who waits is told."""
        if self.urgent:
            raise error
        self.errors[step.image] = error

    def result(self) -> dict[str, Any]:
        """All answers by name."""
        return dict(self.answers)


class Shelf:
    """Results that are there as soon as there is a file of their key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def report(self, key: str) -> str | None:
        """The key, as soon as its result is there."""
        return key if (self.folder / key).exists() else None

    def evict(self, keep: str) -> None:
        """Keep all."""


@dataclass
class Bench:
    """A queue on devices, and what its work noted."""

    folder: Path
    devices: list[Device]
    queue: JobQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = JobQueue(Shelf(self.folder), self.devices, Worker())

    def submit(self, *names: str, urgent: bool = False, **about: Any) -> Noted:
        """A job of a step each."""
        works = [Hold(name, str(self.folder), **about) for name in names]
        return self.queue.submit(Noted([Step(w.name, w) for w in works], urgent=urgent))

    def runs(self, name: str) -> list[tuple[str, int]]:
        """Device and process of each time that work was begun."""
        path = self.folder / f"{name}.begun"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def begun(self, *names: str) -> list[tuple[str, int]]:
        """The same of the last time, as soon as all have begun and gone on."""
        poll(lambda: all(self.ticks(name) for name in names), every=0.01)
        return [self.runs(name)[-1] for name in names]

    def ticks(self, name: str) -> int:
        path = self.folder / f"{name}.ticks"
        return path.stat().st_size if path.exists() else 0

    def goes_on(self, name: str) -> None:
        """Wait until work has done more."""
        before = self.ticks(name)
        poll(lambda: self.ticks(name) > before, every=0.01)

    def let(self, *names: str) -> None:
        """Have work end."""
        for name in names:
            (self.folder / f"{name}.go").touch()

    def device_of(self, job: Job) -> Device:
        """Where a job's step is being done."""
        [device] = [d for d in self.devices if any(lane.turn is job for lane in d.lanes)]
        return device


def gone(process: int) -> bool:
    """Whether a process has ended."""
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def bench(tmp_path) -> Iterator[Any]:
    """Makes queues on devices by name: `bench("cpu", "cpu")`."""
    made: list[Bench] = []

    def make(*names: str, aside: float = 3600.0) -> Bench:
        devices = [Device(name, Worker(device=name), Worker(device=name), aside=aside) for name in names]
        made.append(Bench(tmp_path, devices))
        return made[-1]

    yield make
    for each in made:
        each.queue.close()
