"""Timing side by side."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

console = Console(width=130)


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Median wall time after one warm-up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved(runs: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median wall time of each run, taken in turns, so that a busy moment of the machine hits all of them alike."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> str:
    """What the figures were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return f"{device}, torch {torch.__version__}, Python {platform.python_version()}"


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def told(name: str) -> Callable[[str, float], None]:
    """Progress as a line a minute."""
    last = [0.0]

    def progress(stage: str, fraction: float) -> None:
        if time.monotonic() - last[0] > 60:
            last[0] = time.monotonic()
            console.print(f"{name}: {stage} ({fraction:.0%})")

    return progress
