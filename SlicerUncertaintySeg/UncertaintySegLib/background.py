"""One piece of network work at a time, away from the thread that draws."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from UncertaintySegLib.errors import Cancelled, UncertaintySegError

Report = Callable[[str, float], None]

_logger = logging.getLogger(__name__)
_GIL_SECONDS = 0.005


class Worker:
    """Runs a function in a thread; what comes of it is handled by `pump`, on the thread that calls that.

    A scene may only be touched from Slicer's main thread, so `done`, `failed` and `progress` are called from `pump`,
    which a timer of the user interface calls.

    Args:
        progress: Called with the stage and the fraction (0 to 1) that the function reports.
    """

    def __init__(self, progress: Report) -> None:
        self._progress = progress
        self._events: queue.Queue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.Queue()
        self._cancelled = threading.Event()
        self._running = False

    @property
    def running(self) -> bool:
        """Whether work was started whose end `pump` has not yet handled."""
        return self._running

    def start(
        self, work: Callable[[Report], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        """Start `work(report)` in a thread.

        Args:
            work: Must not touch the scene. Its argument reports progress, and raises `Cancelled` after `cancel`.
            done: Gets what `work` returned.
            failed: Gets what `work` raised.

        Raises:
            RuntimeError: If work is still running.
        """
        if self._running:
            raise RuntimeError("One piece of work at a time: the one before has not ended.")
        self._running = True
        self._cancelled.clear()
        threading.Thread(target=self._run, args=(work, done, failed), name="UncertaintySeg", daemon=True).start()

    def cancel(self) -> None:
        """Ask the running work to stop at its next report."""
        self._cancelled.set()

    def pump(self) -> None:
        """Handle what the thread has sent since the last call."""
        if self._running:
            # Slicer's main thread holds Python's lock while Qt idles; sleeping hands it to the thread.
            time.sleep(_GIL_SECONDS)
        while True:
            try:
                handler, arguments = self._events.get_nowait()
            except queue.Empty:
                return
            handler(*arguments)

    def _report(self, stage: str, fraction: float) -> None:
        if self._cancelled.is_set():
            raise Cancelled("Cancelled.")
        self._events.put((self._progress, (stage, fraction)))

    def _run(
        self, work: Callable[[Report], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        try:
            handler, outcome = done, work(self._report)
        except UncertaintySegError as error:
            handler, outcome = failed, error
        except Exception as error:  # a bug must reach the status line, not die with its thread
            _logger.exception("Unexpected error in background work")
            handler, outcome = failed, error
        self._events.put((self._end, (handler, outcome)))

    def _end(self, handler: Callable[[Any], None], outcome: Any) -> None:
        self._running = False
        handler(outcome)
