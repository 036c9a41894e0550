"""Memory and open files of a server over time, and whether they stay flat."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import psutil

MIB = 1024**2
_GROWTH = 0.05
_SLACK = {"server MiB": 16, "workers MiB": 32, "open files": 10}


class Usage:
    """Samples of one server and of the processes it started.

    The first third is warm-up: imports, models, caches of the allocator. After it nothing may grow by more than 5 %
    and a little slack.
    """

    def __init__(self, process) -> None:
        self._server = psutil.Process(process.pid)
        self._rows: list[tuple[float, ...]] = []
        self._started = time.monotonic()

    def sample(self) -> None:
        workers = self._server.children(recursive=True)
        try:
            memory = [member.memory_info().rss / MIB for member in (self._server, *workers)]
            files = sum(member.num_fds() for member in (self._server, *workers))
        except psutil.NoSuchProcess:  # a worker just ended
            return
        self._rows.append((time.monotonic() - self._started, memory[0], sum(memory[1:]), files))

    def report(self, record: Callable[[str, object], None]) -> None:
        """Note each series' level and its growth after the warm-up."""
        for name, (level, growth) in self._trends().items():
            record(f"{name} after warm-up", f"{level:.0f}, {growth:+.1f} until the end")

    def growing(self) -> list[str]:
        """Names of the series that grew by more than is allowed."""
        trends = self._trends().items()
        return [name for name, (level, growth) in trends if growth > max(_GROWTH * level, _SLACK[name])]

    def _trends(self) -> dict[str, tuple[float, float]]:
        rows = np.array(self._rows[len(self._rows) // 3 :])
        seconds = rows[:, 0] - rows[0, 0]
        lines = (np.polyfit(seconds, series, 1) for series in rows[:, 1:].T)
        return {name: (line[1], line[0] * seconds[-1]) for name, line in zip(_SLACK, lines, strict=True)}
