from __future__ import annotations

import threading
import time

import pytest

from UncertaintySegLib.background import Worker
from UncertaintySegLib.errors import Cancelled, ServerError


def pump_until_idle(worker: Worker) -> None:
    end = time.monotonic() + 5
    while worker.running:
        worker.pump()
        assert time.monotonic() < end


@pytest.fixture
def reports() -> list:
    return []


@pytest.fixture
def worker(reports) -> Worker:
    return Worker(lambda stage, fraction: reports.append((stage, fraction, threading.current_thread())))


def test_work_runs_elsewhere_and_is_handled_here(worker, reports):
    ran_in, ended = [], []

    def work(report):
        ran_in.append(threading.current_thread())
        report("half", 0.5)
        return 42

    worker.start(work, lambda value: ended.append((value, threading.current_thread())), pytest.fail)
    pump_until_idle(worker)
    here = threading.current_thread()
    assert ran_in[0] is not here
    assert ended == [(42, here)]
    assert reports == [("half", 0.5, here)]


@pytest.mark.parametrize("error", [ServerError("no"), ValueError("a bug")])
def test_errors_of_either_kind_arrive(worker, error):
    def work(_report):
        raise error

    seen = []
    worker.start(work, pytest.fail, seen.append)
    pump_until_idle(worker)
    assert seen == [error]


def test_cancelled_work_stops_at_its_next_report(worker):
    started = threading.Event()

    def work(report):
        while True:
            started.set()
            report("on and on", 0.0)
            time.sleep(0.001)

    seen = []
    worker.start(work, pytest.fail, seen.append)
    started.wait(5)
    worker.cancel()
    pump_until_idle(worker)
    assert isinstance(seen[0], Cancelled)


def test_new_work_may_start_when_the_old_one_ends(worker):
    seen = []
    worker.start(lambda _: 1, lambda _: worker.start(lambda _: 2, seen.append, pytest.fail), pytest.fail)
    with pytest.raises(RuntimeError, match="One piece of work at a time"):
        worker.start(lambda _: 3, seen.append, pytest.fail)
    pump_until_idle(worker)
    assert seen == [2]
