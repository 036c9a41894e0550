from __future__ import annotations

import gc
import threading
import weakref

import pytest


class Panel:
    """In a cycle with itself; a timer of its own calls it."""

    def __init__(self, QtCore) -> None:
        self.itself = self
        self.timer = QtCore.QTimer()
        self.timer.timeout.connect(self.on_time)

    def on_time(self) -> None:
        """Nothing."""


@pytest.fixture
def let_go_in(desktop):
    """The threads in which panels are let go; there is one that nobody holds any more."""
    from PySide6 import QtCore

    gc.collect()
    threads: list[str] = []
    gc.disable()
    weakref.finalize(Panel(QtCore), lambda: threads.append(threading.current_thread().name))
    yield threads
    gc.enable()


def beside(work) -> None:
    thread = threading.Thread(target=work, name="beside")
    thread.start()
    thread.join()


def test_what_belongs_to_qt_is_let_go_in_its_thread_alone(let_go_in):
    beside(gc.collect)
    assert let_go_in == []
    gc.collect()
    assert let_go_in == [threading.current_thread().name]


def test_a_collection_that_begins_by_itself_in_another_thread_lets_nothing_go(let_go_in):
    def work() -> None:
        kept, before = [], gc.get_stats()[0]["collections"]
        gc.enable()
        while gc.get_stats()[0]["collections"] < before + 3:
            kept.append([])
        gc.disable()

    beside(work)
    assert let_go_in == []
    assert gc.get_freeze_count() == 0
