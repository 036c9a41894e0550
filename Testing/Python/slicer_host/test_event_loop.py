from __future__ import annotations

import threading
import time
from itertools import count

import pytest


@pytest.fixture
def thread_steps():
    """How often a thread has woken up so far."""
    steps, stop = count(), threading.Event()
    reached = [0]

    def work():
        while not stop.wait(0.001):
            reached[0] = next(steps)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield lambda: reached[0]
    stop.set()
    thread.join()


@pytest.fixture
def idle(desktop, thread_steps, monkeypatch):
    """Idle for a while; return how far a thread beside got."""
    from slicer_host import event_loop

    def idle(hold_lock: bool) -> int:
        monkeypatch.setattr(event_loop, "hold_lock", hold_lock)
        before, start = thread_steps(), time.monotonic()
        desktop.wait_until(lambda: time.monotonic() - start > 0.4)
        return thread_steps() - before

    return idle


def test_threads_stand_still_while_the_host_idles_as_in_slicer(idle):
    assert idle(hold_lock=True) < 10


def test_threads_run_where_a_test_wants_them_to(idle):
    assert idle(hold_lock=False) > 50


def test_timers_run_while_the_host_idles(desktop):
    import qt

    ticks = []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start(5)
    desktop.wait_until(lambda: len(ticks) >= 3, 5)
    timer.stop()


def test_waiting_in_vain_ends(desktop):
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        desktop.wait_until(lambda: False, 0.05)
