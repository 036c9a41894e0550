"""Hundreds of jobs in random order, cancelled and failing at random: what the queue promises holds all the time.

Its workers are threads here, so that there is time for many orders of things; `test_queue` has processes.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

import pytest

from monailabel_app.errors import DeviceFailedError, JobCancelledError, WorkerLostError
from monailabel_app.jobs import ENDED, Device, JobQueue, Step, Work
from Testing.Python.monailabel_app.jobs.conftest import Noted
from uncertaintyseg.errors import InputError


@dataclass(frozen=True)
class Item(Work):
    """Work by name; what becomes of it the ledger says."""

    key: str | None
    name: str
    device: str = "cuda"

    def run(self, report: Any) -> Any:
        """Threads do it."""
        raise NotImplementedError


class Ledger:
    """What is being done and was done, and where it broke a promise."""

    def __init__(self, seed: int) -> None:
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.at_work: Counter[str] = Counter()
        self.shelf: set[str] = set()
        self.broken: list[str] = []

    def report(self, key: str) -> str | None:
        """As of `ResultStore`."""
        return key if key in self.shelf else None

    def evict(self, keep: str) -> None:
        """As of `ResultStore`."""


class Thread:
    """A worker that does work in a thread, and now and then fails."""

    def __init__(self, ledger: Ledger, device: str) -> None:
        self.ledger, self.device, self.paused = ledger, device, False
        self.warming_up, self.thread = False, threading.Thread()

    def submit(self, work: Work) -> Future[Any]:
        future: Future[Any] = Future()
        self.thread = threading.Thread(target=self._do, args=(work, future), daemon=True)
        self.thread.start()
        return future

    def _do(self, work: Item, future: Future[Any]) -> None:
        ledger, key = self.ledger, work.key
        with ledger.lock:
            if work.device != self.device:
                ledger.broken.append(f"{work} on {self.device}")
            if key is not None:
                ledger.at_work[key] += 1
                if ledger.at_work[key] > 1 or key in ledger.shelf:
                    ledger.broken.append(f"{key} is made twice")
            fate = ledger.random.random()
        time.sleep(0.002 * fate)
        while self.paused and not future.cancelled():
            time.sleep(0.001)
        with ledger.lock:
            if key is not None:
                ledger.at_work[key] -= 1
            if not future.set_running_or_notify_cancel():
                return
            if fate > 0.2:
                ledger.shelf |= {key} - {None}
        errors = [DeviceFailedError("CUDA error"), WorkerLostError("died"), MemoryError("full"), InputError("no scan")]
        if fate > 0.2:
            future.set_result(key or work.name)
        else:
            future.set_exception(errors[int(fate * 20)])

    def failure(self, error: Exception) -> str | None:
        kinds = {DeviceFailedError: "device", WorkerLostError: "start", MemoryError: "memory"}
        return kinds.get(type(error))

    def progress(self) -> tuple[str, float]:
        return "working", 0.5

    def pause(self, paused: bool) -> None:
        self.paused = paused

    def ready(self) -> None: ...

    def warm_up(self) -> None: ...

    def close(self) -> None:
        if self.thread.is_alive():  # it was cancelled
            self.thread.join()


@pytest.mark.parametrize("seed", range(4))
def test_under_any_load_every_step_ends_once_and_no_result_is_made_twice_at_a_time(seed):
    ledger, choose = Ledger(seed), random.Random(seed)
    names = ["cuda:0", "cuda:1", "cuda:2"]
    devices = [Device(name, Thread(ledger, name), Thread(ledger, name), aside=0.01) for name in names]
    queue, jobs = JobQueue(ledger, devices, Thread(ledger, "cuda")), []

    def step(name: str) -> Step:
        work = Item(choose.choice([None, f"{choose.randrange(60):064d}"]), name)
        if choose.random() < 0.3:
            return Step(name, work, lambda: work)
        return Step(name, work)

    try:
        for number in range(150):
            urgent = choose.random() < 0.5
            steps = [step(f"{number}/{i}") for i in range(1 if urgent else choose.randrange(1, 9))]
            jobs.append(queue.submit(Noted(steps, urgent=urgent)))
            if choose.random() < 0.15:
                queue.cancel(choose.choice(jobs[-20:]).id)
            said = queue.describe(choose.choice(jobs[-20:]).id)
            assert 0 <= said.fraction <= 1
            assert said.queue_position >= 0
            time.sleep(0.003 * choose.random())
        for job in jobs:
            try:
                job.outcome.result(60)
            except (JobCancelledError, WorkerLostError, InputError, CancelledError):
                continue
            ends = Counter([name for name, _ in job.answers] + list(job.errors))
            assert len(ends) == job.total
            assert set(ends.values()) == {1}
    finally:
        queue.close()
    assert ledger.broken == []
    assert {job.state for job in jobs} <= set(ENDED)
    assert all(device.describe()["done"] for device in devices)
